"""Claims with their proofs: each is tried, told in one line, and counted."""

import sys

claims = []


def claim(sentence):
    """Makes a function the proof of a sentence; what it returns, if anything, is told beside it."""
    return lambda proof: claims.append((sentence, proof))


def prove():
    """Ends with 1 if anything is not as it should be."""
    failed = 0
    for sentence, proof in claims:
        try:
            figures = proof()
            print(f"  ✓ {sentence}" + (f" ({figures})" if figures else ""), flush=True)
        except Exception as error:
            failed += 1
            print(f"  ✗ {sentence}: {error or type(error).__name__}", flush=True)
    sys.exit(failed and f"error: {failed} of {len(claims)} assertions failed")
