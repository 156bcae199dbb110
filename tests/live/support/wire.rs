//! As much of ZooKeeper's wire format as it takes to choose a request or a reply by what it is.

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    Delete,
    Exists,
    Get,
    Set,
    Children,
    Sync,
    Multi,
    MultiRead,
    AddWatch,
    Other(i32),
}

impl Op {
    fn from_code(code: i32) -> Self {
        match code {
            1 | 15 => Self::Create,
            2 => Self::Delete,
            3 => Self::Exists,
            4 => Self::Get,
            5 => Self::Set,
            8 | 12 => Self::Children,
            9 => Self::Sync,
            14 => Self::Multi,
            22 => Self::MultiRead,
            106 => Self::AddWatch,
            other => Self::Other(other),
        }
    }
}

/// A request, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub xid: i32,
    pub op: Op,
    /// The path; of a multi, that of its first operation.
    pub path: String,
}

impl Request {
    /// Reads a frame that follows the connect request.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (xid, op) = (number(frame, 0)?, Op::from_code(number(frame, 4)?));
        // A multi's operation has a header of its own: type, done, error.
        let at = if matches!(op, Op::Multi | Op::MultiRead) { 8 + 9 } else { 8 };
        Some(Self { xid, op, path: text(frame, at).unwrap_or_default() })
    }
}

/// The xid of a reply, and where in its frame the error code is.
pub fn reply_xid(frame: &[u8]) -> Option<i32> {
    number(frame, 0)
}

/// Replaces the error code of a reply, and drops its body.
pub fn with_error(frame: &[u8], code: i32) -> Vec<u8> {
    let mut reply = frame[..12].to_vec();
    reply.extend(code.to_be_bytes());
    reply
}

fn number(frame: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?))
}

fn text(frame: &[u8], at: usize) -> Option<String> {
    let len = usize::try_from(number(frame, at)?).ok()?;
    String::from_utf8(frame.get(at + 4..at + 4 + len)?.to_vec()).ok()
}
