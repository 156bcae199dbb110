//! What people write, edited.

use super::*;

fn changed(text: &str, path: &str, value: &str) -> Result<String, EditError> {
    set(text, path, &Given::parse(value).unwrap())
}

#[track_caller]
fn sets(text: &str, path: &str, value: &str, expected: &str) {
    assert_eq!(changed(text, path, value).as_deref(), Ok(expected));
}

#[track_caller]
fn unsets(text: &str, path: &str, expected: &str) {
    assert_eq!(unset(text, path).as_deref(), Ok(expected));
}

#[test]
fn a_value_is_replaced_where_it_stands() {
    sets("# why\nA: 1 # because\nB: 2\n", "A", "3", "# why\nA: 3 # because\nB: 2\n");
    sets("A: 'x # y'  # c\n", "A", "Our Superset", "A: Our Superset  # c\n");
    sets("F:\n  # on\n  X: true # x\n  Y: false\n", "F.X", "false", "F:\n  # on\n  X: false # x\n  Y: false\n");
    sets("A: |\n  one\n  two # no comment\n\nB: 2\n", "A", "x", "A: x\n\nB: 2\n");
    sets("A: \"x\\\n  y\"\nB: 1\n", "A", "2", "A: 2\nB: 1\n");
    sets("A:\nB: 1\n", "A", "2", "A: 2\nB: 1\n");
    sets("A: é\nB: ü # ö\n", "B", "ß", "A: é\nB: ß # ö\n");
    sets("A: [1, {b: 2}] # c\n", "A", "[3]", "A: [3] # c\n");
    sets("A:\n- 1\n- x: 2\nB: 1", "A", "7", "A: 7\nB: 1");
}

#[test]
fn a_mapping_may_be_given_on_one_line_or_on_many() {
    sets("A: 1\n", "A", "b: 1", "A:\n  b: 1\n");
    sets("A: 1\nB: 2\n", "A", "b: 1\nc: # deep\n  d: 2\n", "A:\n  b: 1\n  c: # deep\n    d: 2\nB: 2\n");
    sets("A: 1\n", "A", "{$env: X}", "A: {$env: X}\n");
    sets("A: {b: 1}\n", "A.b", "x: y", "A: {b: {\"x\": \"y\"}}\n");
}

#[test]
fn a_new_key_goes_to_the_end_of_its_mapping() {
    sets("", "A", "1", "A: 1\n");
    sets("# only a comment", "A", "1", "# only a comment\nA: 1\n");
    sets("A: 1 # c\n", "B.C", "x", "A: 1 # c\nB:\n  C: x\n");
    sets("F:\n    X: true\n# after\nB: 1\n", "F.Y", "false", "F:\n    X: true\n    Y: false\n# after\nB: 1\n");
    sets("F: {X: true}\n", "F.Y", "no way", "F: {X: true, \"Y\": \"no way\"}\n");
    sets("F: {}\n", "F.Y", "1", "F: {\"Y\": 1}\n");
    sets("F:\nB: 1\n", "F.Y", "1", "F:\n  Y: 1\nB: 1\n");
    sets("A: |\n  text\n\n", "B", "1", "A: |\n  text\nB: 1\n\n");
    sets("A: 1", "on", "x", "A: 1\n\"on\": x\n");
}

#[test]
fn json_stays_json() {
    sets("{\"A\": 1, \"B\": {\"c\": [1]}}", "B.c", "[x, 2]", "{\"A\": 1, \"B\": {\"c\": [\"x\", 2]}}");
    sets("{\n  \"A\": 1\n}\n", "D.E", "true", "{\n  \"A\": 1, \"D\": {\"E\": true}\n}\n");
    unsets("{\"A\": 1, \"B\": 2, \"C\": 3}", "B", "{\"A\": 1, \"C\": 3}");
    unsets("{\"A\": 1, \"C\": 3}", "C", "{\"A\": 1}");
    unsets("{\"A\": {\"x\": 1}}", "A.x", "{}");
    assert_eq!(changed("{\"A\": 1}", "A", ".inf"), Err(EditError::Form));
}

#[test]
fn forms_and_directives_are_gone_through() {
    let form = "when: {role: worker}\nconfig:\n  A: 1\n";
    sets(form, "A", "2", "when: {role: worker}\nconfig:\n  A: 2\n");
    sets(form, "B", "2", "when: {role: worker}\nconfig:\n  A: 1\n  B: 2\n");
    unsets(form, "A", "when: {role: worker}\nconfig: {}\n");
    unsets("when: {role: worker}\nconfig:\n  A: 1 # a\n", "A", "when: {role: worker}\nconfig: {}\n  # a\n");
    sets("F: {$merge: {X: true}}\n", "F.X", "false", "F: {$merge: {X: false}}\n");
    sets("F:\n  $replace:\n    X: true\n", "F.Y", "1", "F:\n  $replace:\n    X: true\n    Y: 1\n");
    assert_eq!(when(form), [("role".to_owned(), "worker".to_owned())]);
    assert!(says(form, "A") && !says(form, "when") && !says("[", "A"));
}

#[test]
fn what_is_taken_out_leaves_its_comments_and_no_empty_mapping() {
    unsets("# a\nA: 1 # of A\nB: 2\n", "A", "# a\n# of A\nB: 2\n");
    unsets("A:\n  # in\n  b: 1\nB: 2\n", "A", "# in\nB: 2\n");
    unsets("F:\n  X:\n    Y: 1\nB: 2\n", "F.X.Y", "B: 2\n");
    unsets("F:\n  X: 1\n  Y: 2", "F.Y", "F:\n  X: 1\n");
    unsets("A: 1\n", "A", "");
    assert_eq!(unset("A: 1\n", "B"), Err(EditError::Absent { key: "B".to_owned() }));
}

#[test]
fn lines_are_edited_by_line() {
    let text = "# old\nROW_LIMIT=5\ndatabase_url=postgres://h/d\n";
    sets(text, "ROW_LIMIT", "7", "# old\nROW_LIMIT=7\ndatabase_url=postgres://h/d\n");
    sets(text, "NEW", "{a: b}", "# old\nROW_LIMIT=5\ndatabase_url=postgres://h/d\nNEW={a: b}\n");
    sets(text, "F.X", "true", "# old\nROW_LIMIT=5\ndatabase_url=postgres://h/d\nF={\"X\": true}\n");
    sets(text, "SQLALCHEMY_DATABASE_URI", "sqlite://", "# old\nROW_LIMIT=5\ndatabase_url=sqlite://\n");
    unsets(text, "ROW_LIMIT", "# old\ndatabase_url=postgres://h/d\n");
}

#[test]
fn what_cannot_be_done_without_loss_is_refused() {
    assert_eq!(changed("A:\n  # why\n  b: 1\n", "A", "2"), Err(EditError::Comments));
    assert_eq!(changed("A: &x 1\nB: *x\n", "A", "2"), Err(EditError::Form));
    assert_eq!(changed("A: &x {y: 1}\nB: {<<: *x, z: 1}\n", "B.y", "2"), Err(EditError::Form));
    assert_eq!(changed("A: text\n", "A.b", "2"), Err(EditError::InTheWay { key: "A".to_owned(), kind: "text" }));
    assert!(matches!(changed("A: [\n", "A", "2"), Err(EditError::Invalid(_))));
    assert!(matches!(changed("- 1\n", "A", "2"), Err(EditError::Invalid(_))));
    sets("A: &x 1\nB: *x\n", "B", "2", "A: &x 1\nB: 2\n");
}

#[test]
fn a_value_is_read_as_strictly_as_a_fragment() {
    assert!(Given::parse("yes").is_err() && Given::parse("[").is_err());
}
