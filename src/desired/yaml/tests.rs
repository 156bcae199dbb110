//! What YAML comes to, what is refused, and in which words.

use super::super::item::What;
use super::*;
use crate::model::snapshot::Origin;

fn read(text: &str) -> Result<What, Vec<String>> {
    let origin = Origin::new("/n");
    let mut notes = Notes::new(&origin);
    let item = parse(text, &mut notes);
    let problems: Vec<_> = notes.into_problems().iter().map(ToString::to_string).collect();
    item.filter(|_| problems.is_empty()).map(|item| item.what).ok_or(problems)
}

fn values(text: &str) -> Vec<What> {
    match read(text).unwrap() {
        What::Map(entries) => entries.into_iter().map(|entry| entry.item.what).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scalars_mean_what_yaml_1_2_says() {
    let text = "a: 18446744073709551616\nb: 'no'\nc: |-\n  012\nd: !!str 012\ne: nan\nf: !!float 12\ng: &x 7\nh: *x\ni: \"1_0\"\nj: >\n  yes\n";
    let text_of = |text: &str| What::Text(text.to_owned());
    let expected = vec![
        What::Int(1 << 64),
        text_of("no"),
        text_of("012"),
        text_of("012"),
        text_of("nan"),
        What::Int(12),
        What::Int(7),
        What::Int(7),
        text_of("1_0"),
        text_of("yes\n"),
    ];
    let found = values(text);
    assert_eq!(found[..5], expected[..5]);
    assert_eq!(found[5], What::Float(12.0));
    assert_eq!(found[6..], expected[6..]);
}

#[test]
fn a_plain_scalar_is_told_from_a_tagged_or_a_block_whatever_its_key() {
    for key in ["\"a >\"", "\"a |x\"", "\"a !\"", "\"b !!str\"", "? &q \"!\"\n"] {
        assert!(read(&format!("{key}: yes")).is_err(), "{key}");
    }
    for header in ["|", "|-", ">2-", "!!str", "!", "!<tag:yaml.org,2002:str>", "!!str &a"] {
        let space = if header.starts_with(['|', '>']) { "\n  " } else { " " };
        assert!(read(&format!("a: {header}{space}yes")).is_ok(), "{header}");
    }
}

#[test]
fn json_is_read_by_the_same_parser() {
    let json = "{\"a\":\t1,\n\t\"b\": [true, null, 1.5e3],\n\t\"c\": \"\\ud83d\\ude00 \\/ \\u0000\"}";
    let expected = vec![
        What::Int(1),
        What::List(vec![
            Item { line: 2, what: What::Bool(true) },
            Item { line: 2, what: What::Null },
            Item { line: 2, what: What::Float(1500.0) },
        ]),
        What::Text("😀 / \0".to_owned()),
    ];
    assert_eq!(values(json), expected);
    let long = format!("{{\"{}\": 1}}", "k".repeat(5000));
    assert_eq!(values(&long), [What::Int(1)]);
}

#[test]
fn all_scalars_that_are_refused_are_told_at_once() {
    let problems = read("a: yes\nb: [1, 012, {c: 1_000}]\n2001: x\nno: 1\n1.5: x\n? [k]\n: v\ntrue: a\n1: b\n").unwrap_err();
    let start = |line: &str| problems.iter().any(|problem| problem.starts_with(line));
    for line in [
        "/n:1: a: expected true",
        "/n:2: b[1]: expected a number",
        "/n:2: b[2].c: expected",
        "/n:4: expected true",
        "/n:5: expected text",
    ] {
        assert!(start(line), "{line} in {problems:#?}");
    }
    assert!(start("/n:6: expected text") && start("/n:9: the key `1` is there twice"), "{problems:#?}");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line_and_not_quoted() {
    for (text, expected) in [
        ("a: 1\nb: 2\na: hunter2", "/n:3: the key `a` is there twice in one mapping"),
        ("{\"a\": 1, \"a\": 2}", "/n:1: the key `a` is there twice in one mapping"),
        ("a: 1\n---\nb: hunter2", "/n:3: expected one YAML document, found another after it"),
        ("a: !hunter2 1", "/n:1: a YAML tag (`!name`) means nothing here; expected plain data or a `$` directive"),
        ("a: *hunter2", "/n:1: an alias (`*name`) refers to an anchor that is not there"),
        ("a: &a [*a]", "/n:1: an anchor contains itself"),
        ("\n{a: [}", "/n:2: expected YAML or JSON: mismatched bracket '[' closed by '}'"),
        ("a: {<<: 1}", "/n:1: expected a mapping after `<<`"),
        ("a: \"hunter2", "/n:1: expected YAML or JSON: "),
        ("a:\n\tb: hunter2", "/n:2: expected YAML or JSON: "),
        ("a: \"\\ud800hunter2\"", "/n:1: expected YAML or JSON: "),
        ("\u{0}\u{1}hunter2", "/n:1: expected YAML or JSON: "),
        ("a: !!int hunter2", "/n:1: expected YAML or JSON: "),
        ("a: !!binary hunter2*", "/n:1: expected YAML or JSON: "),
        ("hunter2: [", "/n:1: expected YAML or JSON: "),
    ] {
        let problems = read(text).unwrap_err();
        assert!(problems[0].starts_with(expected), "{text:?}: {problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
    }
}

#[test]
fn bombs_and_depths_are_refused_before_they_cost_much() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for name in b'b'..=b'l' {
        let earlier = char::from(name - 1);
        let aliases = [format!("*{earlier}").as_str(); 9].join(",");
        bomb.extend([format!("{0}: &{0} [{aliases}]\n", char::from(name))]);
    }
    let wide = format!("a: [{}]", "1,".repeat(300_000));
    for text in [
        bomb,
        wide,
        "[".repeat(1_000_000),
        "? ".repeat(1_000_000),
        "- ".repeat(1_000_000),
        "{a: ".repeat(100),
        format!("{}{}", "[".repeat(33), "]".repeat(33)),
    ] {
        let start = std::time::Instant::now();
        assert!(read(&text).is_err());
        // Debug builds take up to a second here, a parser without a budget for ever.
        assert!(start.elapsed().as_secs() < 20);
    }
}

#[test]
fn what_is_deep_but_not_too_deep_is_read() {
    assert!(read(&format!("{}1{}", "{a: ".repeat(31), "}".repeat(31))).is_ok());
    assert!(read(&format!("{}1", "- ".repeat(31))).is_ok());
}

#[test]
fn bytes_that_are_no_text_are_told() {
    let origin = Origin::new("/n");
    let mut notes = Notes::new(&origin);
    assert_eq!(text(b"a: 1\n\xff\xfe", &mut notes), None);
    assert_eq!(text(&vec![b' '; MAX_BYTES + 1], &mut notes), None);
    assert_eq!(text("\u{feff}a".as_bytes(), &mut notes), Some("a"));
    let problems: Vec<_> = notes.into_problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["/n: expected at most 4 MiB, found 4194305 bytes", "/n:2: expected text in UTF-8, found other bytes"]);
}
