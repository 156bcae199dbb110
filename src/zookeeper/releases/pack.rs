//! A config tree as bytes, in parts that a znode can hold, and back.
//!
//! Pure. Nodes in, chunks out; the same nodes make the same chunks on every host and in every version of the compressor,
//! so that whoever finds a half-written tree can tell which of its parts are right. A chunk never holds nodes of two groups:
//! each group has an ACL of its own. The whole says how long it is, so that a part that is missing is noticed.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// What a tree begins with.
const MAGIC: &[u8] = b"setkeeper tree 1\n";

/// How many bytes a chunk has before it is compressed: what does not compress grows by less than a thousandth.
const CHUNK: usize = 500_000;

/// A node: its name below the root, empty for the root itself, and its bytes.
pub(super) type Packed<'a> = (&'a str, &'a [u8]);

/// A chunk, and the group that its nodes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub group: usize,
    pub bytes: Vec<u8>,
}

/// The chunks of all groups.
pub(super) fn pack(groups: &[Vec<Packed<'_>>]) -> Vec<Chunk> {
    let mut streams: Vec<Vec<u8>> = groups.iter().map(|nodes| frames(nodes)).collect();
    if streams.is_empty() {
        streams.push(Vec::new());
    }
    let length: usize = streams.iter().map(Vec::len).sum();
    let head = [MAGIC, &(length as u64).to_be_bytes()].concat();
    streams[0].splice(0..0, head);
    let chunks = streams
        .iter()
        .enumerate()
        .flat_map(|(group, stream)| stream.chunks(CHUNK).map(move |bytes| Chunk { group, bytes: bytes.to_vec() }));
    chunks.collect()
}

fn frames(nodes: &[Packed<'_>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (name, bytes) in nodes {
        for field in [name.as_bytes(), bytes] {
            stream.extend((field.len() as u64).to_be_bytes());
            stream.extend(field);
        }
    }
    stream
}

/// The nodes of a tree whose chunks are these, in order; `None` where they are no whole tree.
pub(super) fn unpack(chunks: &[Vec<u8>]) -> Option<Vec<(String, Vec<u8>)>> {
    let whole = chunks.concat();
    let mut rest = whole.strip_prefix(MAGIC)?;
    if number(&mut rest)? != rest.len() {
        return None;
    }
    let mut nodes = Vec::new();
    while !rest.is_empty() {
        let name = field(&mut rest)?;
        nodes.push((String::from_utf8(name.to_vec()).ok()?, field(&mut rest)?.to_vec()));
    }
    Some(nodes)
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)?;
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    usize::try_from(u64::from_be_bytes(*bytes)).ok()
}

/// A chunk as it is kept. Writing to memory does not fail.
pub(super) fn compress(chunk: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(chunk).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// A part as it was before it was compressed; `None` where it is no part of ours.
pub(super) fn decompress(part: &[u8]) -> Option<Vec<u8>> {
    let mut chunk = Vec::new();
    // No more than a chunk of ours has: a part may be anybody's.
    GzDecoder::new(part).take(CHUNK as u64 + 1).read_to_end(&mut chunk).ok()?;
    (chunk.len() <= CHUNK).then_some(chunk)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(chunks: Vec<Chunk>) -> Vec<Vec<u8>> {
        chunks.into_iter().map(|chunk| chunk.bytes).collect()
    }

    proptest! {
        #[test]
        fn a_tree_comes_back_byte_by_byte(
            groups in prop::collection::vec(prop::collection::vec(("[a-z]{0,8}", prop::collection::vec(any::<u8>(), 0..300)), 0..5), 0..4)
        ) {
            let borrowed: Vec<Vec<Packed<'_>>> =
                groups.iter().map(|nodes| nodes.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect()).collect();
            let kept: Vec<_> = pack(&borrowed).iter().map(|chunk| compress(&chunk.bytes)).collect();
            let chunks: Option<Vec<_>> = kept.iter().map(|part| decompress(part)).collect();
            prop_assert_eq!(unpack(&chunks.unwrap()), Some(groups.concat()));
        }
    }

    #[test]
    fn whatever_does_not_compress_still_fits_and_a_missing_part_is_noticed() {
        let noise: Vec<u8> = (0..1_300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        let chunks = pack(&[vec![("a", &noise)], vec![("b", b"other rights")]]);
        assert_eq!(chunks.iter().map(|chunk| chunk.group).collect::<Vec<_>>(), [0, 0, 0, 1]);
        assert!(chunks.iter().all(|chunk| compress(&chunk.bytes).len() <= 512 * 1024));
        let chunks = bytes(chunks);
        assert_eq!(unpack(&chunks).unwrap()[1], ("b".to_owned(), b"other rights".to_vec()));
        assert_eq!(unpack(&chunks[..3]), None, "the frames end well, but not the tree");
        assert_eq!(unpack(&chunks[1..]), None);
        assert_eq!(unpack(&[]), None);
    }

    #[test]
    fn nobody_makes_a_small_part_fill_the_memory() {
        let bomb = compress(&vec![0; 50_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(decompress(&bomb), None);
        assert_eq!(decompress(b"rubbish"), None);
    }
}
