//! What should be true to file texts and a revision; Python only through typed literals.
