//! Snapshots come to what they should, whatever came before.

use proptest::prelude::*;

use super::*;
use crate::model::datasource::DatasourceName;
use crate::model::snapshot::Origin;
use crate::model::value::Value;

fn key(byte: u8) -> DigestKey {
    DigestKey::from_bytes(&[byte; 32]).unwrap()
}

fn branch(path: &str, root: Option<&str>, nodes: &[(&str, &str)]) -> Branch {
    let child = |(name, text): &(&str, &str)| (Arc::from(*name), Node::new(Origin::new(format!("{path}/{name}")), text, 1));
    Branch { root: root.map(|text| Node::new(Origin::new(path), text, 1)), children: nodes.iter().map(child).collect() }
}

fn snapshot(config: &[(&str, &str)], datasources: &[(&str, &str)]) -> Snapshot {
    Snapshot { config: branch("/c", None, config), datasources: branch("/d", None, datasources), rollout: None }
}

fn resolve(snapshot: &Snapshot) -> Resolution {
    Resolver::new(Lens::default()).resolve(&key(1), snapshot)
}

fn texts(resolution: &Resolution) -> Vec<String> {
    resolution.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn fragments_merge_in_byte_order_and_the_root_first() {
    let mut tree = snapshot(&[("9", "A: 9\nF: {x: 9}"), ("10-a", "A: 10\nF: {y: 10}"), ("Z", "B: 1")], &[]);
    tree.config.root = Some(Node::new(Origin::new("/c"), "A: 0\nC: root\nF: {x: 0, z: 0}", 1));
    let config = resolve(&tree).config.unwrap();
    let map =
        |entries: &[(&str, i128)]| Value::Map(entries.iter().map(|(key, number)| ((*key).into(), Value::Int(*number))).collect());
    assert_eq!(config.get("A"), Some(&Value::Int(9)));
    assert_eq!(config.get("C"), Some(&"root".into()));
    assert_eq!(config.get("F"), Some(&map(&[("x", 9), ("y", 10), ("z", 0)])));
    assert_eq!(config.settings.len(), 4);
}

#[test]
fn law_2_one_bad_fragment_holds_the_config_and_no_datasource() {
    let tree = snapshot(&[("a", "ROW_LIMIT: 1"), ("b", "b: 1"), ("c", "C: [")], &[("x", "engine: mysql"), ("y", "engin: mysql")]);
    let resolution = resolve(&tree);
    let held = resolution.config.clone().unwrap_err();
    assert!(
        held.reason().starts_with("the config tree has 2 problems, first: /c/b:1: b: expected the name of a setting"),
        "{held}"
    );
    assert_eq!(resolution.datasources.keys().map(DatasourceName::as_str).collect::<Vec<_>>(), ["x"]);
    assert_eq!(resolution.invalid.keys().map(DatasourceName::as_str).collect::<Vec<_>>(), ["y"]);
    let starts: Vec<_> = texts(&resolution).iter().map(|text| text[..5].to_owned()).collect();
    assert_eq!(starts, ["/c/b:", "/c/c:", "/d/y:", "/d/y:"]);
}

#[test]
fn law_11_two_of_one_database_name_are_both_invalid_until_one_is_mended() {
    let named = |name: &str| format!("{{engine: mysql, database_name: {name}}}");
    let (sales, other) = (named("Sales"), named("Other"));
    let mut resolver = Resolver::new(Lens::default());
    let clash = resolver.resolve(&key(1), &snapshot(&[], &[("a", &sales), ("b", &sales), ("c", &other)]));
    assert_eq!((clash.datasources.len(), clash.invalid.len()), (1, 2));
    assert!(texts(&clash)[0].starts_with("/d/a: database_name: /d/b has this database_name too"), "{:?}", texts(&clash));
    let mended = resolver.resolve(&key(1), &snapshot(&[], &[("a", &sales), ("b", &other)]));
    assert_eq!(mended.datasources.keys().map(DatasourceName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert!(mended.problems.is_empty() && mended.invalid.is_empty());
}

#[test]
fn a_root_with_data_is_one_datasource_and_may_not_take_a_childs_name() {
    let json = r#"{"name":"mysql","host":"127.0.0.1","port":"3306","user":"root","password":"password"}"#;
    let mut tree = snapshot(&[], &[]);
    tree.datasources = branch("/data_source", Some(json), &[]);
    let resolution = resolve(&tree);
    let datasource = resolution.datasources.values().next().unwrap();
    assert_eq!(datasource.uri.text(), "mysql+pymysql://root@127.0.0.1:3306/");
    assert_eq!(resolution.inventory.datasources.len(), 1);
    tree.datasources = branch("/data_source", Some(json), &[("mysql", "{host: h, database_name: other}")]);
    let resolution = resolve(&tree);
    assert!(resolution.datasources.is_empty());
    assert_eq!(texts(&resolution)[0], "/data_source: name: /data_source/mysql is named `mysql` too");
    tree.datasources = branch("/data_source", Some(" \n"), &[]);
    assert!(resolve(&tree).inventory.datasources.is_empty());
}

#[test]
fn what_lies_deeper_is_told_and_does_nothing() {
    let plain = resolve(&snapshot(&[("a", "ROW_LIMIT: 1")], &[]));
    let mut resolver = Resolver::new(Lens::default());
    let nested = resolver.resolve(&key(1), &snapshot(&[("a", "ROW_LIMIT: 1"), ("a/b", "B: [")], &[("x/y", "")]));
    assert_eq!(texts(&nested).len(), 2);
    assert_eq!(texts(&nested)[0], "/c/a/b: lies deeper than one level below its tree, where nothing is read");
    assert_eq!((&nested.release, &nested.config), (&plain.release, &plain.config));
    let again = resolver.resolve(&key(1), &snapshot(&[("a", "ROW_LIMIT: 1")], &[]));
    assert!(again.problems.is_empty());
}

#[test]
fn the_release_is_the_config_tree_and_nothing_else() {
    let base = resolve(&snapshot(&[("a", "A: 1"), ("b", "B: 1")], &[]));
    let with = |config: &[(&str, &str)], datasources: &[(&str, &str)]| resolve(&snapshot(config, datasources));
    assert_eq!(base.release, with(&[("a", "A: 1"), ("b", "B: 1")], &[("x", "engine: mysql")]).release);
    assert_ne!(base.tree, with(&[("a", "A: 1"), ("b", "B: 1")], &[("x", "engine: mysql")]).tree);
    for other in
        [&[("a", "A: 1")][..], &[("a", "A: 1"), ("b", "B: 2")], &[("a", "A: 1"), ("c", "B: 1")], &[("b", "A: 1"), ("a", "B: 1")]]
    {
        assert_ne!(base.release, with(other, &[]).release, "{other:?}");
    }
    let other_key = Resolver::new(Lens::default()).resolve(&key(2), &snapshot(&[("a", "A: 1"), ("b", "B: 1")], &[]));
    assert_ne!(base.release, other_key.release);
    let labels = Lens { labels: [("role".to_owned(), "beat".to_owned())].into(), ..Lens::default() };
    let other_labels = Resolver::new(labels).resolve(&key(1), &snapshot(&[("a", "A: 1"), ("b", "B: 1")], &[]));
    assert_eq!(base.release, other_labels.release);
}

#[test]
fn what_did_not_change_is_shared_and_a_new_version_alone_is_no_change() {
    let mut tree = snapshot(&[("a", "A: {x: 1}"), ("b", "B: 1")], &[("x", "engine: mysql")]);
    let mut resolver = Resolver::new(Lens::default());
    let before = resolver.resolve(&key(1), &tree);
    tree.config.children.insert(Arc::from("a"), Node::new(Origin::new("/c/a"), "A: {x: 1}", 2));
    let same = resolver.resolve(&key(1), &tree);
    assert!(Arc::ptr_eq(&before.config.clone().unwrap(), &same.config.unwrap()));
    tree.config.children.insert(Arc::from("b"), Node::new(Origin::new("/c/b"), "B: 2", 3));
    let after = resolver.resolve(&key(1), &tree);
    assert_eq!(before.config.unwrap().settings.get("A"), after.config.unwrap().settings.get("A"));
    assert!(Arc::ptr_eq(before.datasources.values().next().unwrap(), after.datasources.values().next().unwrap()));
}

#[test]
fn ten_thousand_names_of_somebodys_own_are_counted_and_a_single_look_tells_them_all() {
    let nodes: Vec<_> = (0..1000).map(|number| (format!("{number:04}"), format!("ACME_{number}: 1"))).collect();
    let mut nodes: Vec<_> = nodes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut resolver = Resolver::new(Lens::default());
    let many = texts(&resolver.resolve(&key(1), &snapshot(&nodes, &[])));
    assert_eq!((many.len(), many[0].as_str()), (257, "/c: 744 more warnings are not told one by one"));
    assert_eq!(many[1], "/c/0000:1: ACME_0: Superset has no such setting");
    let all = Resolver::new(Lens::default()).telling_all().resolve(&key(1), &snapshot(&nodes, &[]));
    assert_eq!(texts(&all).len(), 1000);
    // An error is told, however many warnings there are.
    nodes.push(("9999", "ROW_LIMIT: many"));
    assert!(
        texts(&resolver.resolve(&key(1), &snapshot(&nodes, &[]))).iter().any(|text| text.starts_with("/c/9999:1: ROW_LIMIT"))
    );
    let few = resolver.resolve(&key(1), &snapshot(&nodes[..2], &[]));
    assert_eq!(texts(&few).len(), 2);
    assert!(resolver.resolve(&key(1), &snapshot(&[], &[])).problems.is_empty());
}

#[test]
fn a_version_that_is_learnt_later_is_judged_by_and_what_it_does_not_touch_is_shared() {
    let old = Edition::of(Some("4.1.4"));
    // A list where 4.1.4 needs a set.
    let mut tree = snapshot(&[("a", "ALLOWED_EXTENSIONS: [csv]"), ("b", "ROW_LIMIT: 5"), ("c", "APP_NAME: x")], &[]);
    let mut resolver = Resolver::new(Lens::default());
    let before = resolver.resolve(&key(1), &tree);
    assert!(before.config.is_ok() && before.problems.is_empty());
    assert!(!resolver.learn(Edition::default()));
    assert!(resolver.learn(old) && !resolver.learn(old));
    tree.config.children.remove("c");
    let after = resolver.resolve(&key(1), &tree);
    let problem = "/c/a:1: ALLOWED_EXTENSIONS: expected a set, found a list";
    assert_eq!(texts(&after), [problem]);
    assert_eq!(after.config.unwrap_err().reason(), format!("the config tree has a problem: {problem}"));
    assert!(resolver.learn(Edition::of(Some("6.1.0"))));
    let again = resolver.resolve(&key(1), &tree);
    let fresh = Resolver::new(Lens { superset: Edition::of(Some("6.1.0")), ..Lens::default() }).resolve(&key(1), &tree);
    assert_eq!((texts(&again), &again.config, &again.release), (texts(&fresh), &fresh.config, &fresh.release));
    let (before, again) = (before.config.unwrap(), again.config.unwrap());
    assert!(std::ptr::eq(before.get("ROW_LIMIT").unwrap(), again.get("ROW_LIMIT").unwrap()));
}

#[test]
fn a_thousand_bad_nodes_are_a_thousand_problems() {
    let nodes: Vec<_> = (0..1000).map(|number| (format!("{number:04}"), format!("lower_{number}: {{"))).collect();
    let nodes: Vec<_> = nodes.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let resolution = resolve(&snapshot(&nodes, &nodes));
    assert_eq!(texts(&resolution).len(), 2000);
    assert!(resolution.config.unwrap_err().reason().starts_with("the config tree has 1000 problems, first: /c/0000:"));
}

fn nodes(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    const NAMES: &[&str] = &["0", "1", "2", "2/3", "mysql"];
    proptest::collection::btree_map(proptest::sample::select(NAMES), proptest::sample::select(texts), 0..5)
        .prop_map(|nodes| nodes.into_iter().collect())
}

fn trees() -> impl Strategy<Value = Snapshot> {
    let config: &[&str] = &[
        "",
        "A: 1",
        "A: {x: 1, y: {z: 2}}",
        "A: {x: {$unset: true}}\nB: 2",
        "A: {$merge: {x: 3}}",
        "A: {$unset: true}",
        "B: [",
        "b: 1",
        "ROW_LIMTI: 1",
        "when: {role: web}\nconfig: {A: 5}",
        "database_url=mysql://u@h/d",
        "A: {$replace: {q: 1}}",
    ];
    let datasources: &[&str] = &[
        "",
        "engine: mysql",
        "{engine: mysql, database_name: same}",
        "{engine: trino, database_name: same}",
        "{}",
        "{name: mysql, host: h}",
        "engine: postgresq",
    ];
    let root = |texts: &'static [&'static str]| proptest::option::of(proptest::sample::select(texts));
    let rollout = root(&["{\"confirmed\": \"x\"}", "[", ""]);
    (root(config), nodes(config), root(datasources), nodes(datasources), rollout).prop_map(|(a, b, c, d, rollout)| Snapshot {
        config: branch("/c", a, &b),
        datasources: branch("/d", c, &d),
        rollout: rollout.map(|text| Node::new(Origin::new("/rollout"), text, 1)),
    })
}

proptest! {
    #[test]
    fn law_12_coming_from_another_tree_makes_no_difference(trees in proptest::collection::vec(trees(), 1..6)) {
        let mut resolver = Resolver::new(Lens::default());
        for tree in &trees {
            let (grown, fresh) = (resolver.resolve(&key(1), tree), resolve(tree));
            prop_assert_eq!(texts(&grown), texts(&fresh));
            prop_assert_eq!((grown.release, grown.tree), (fresh.release, fresh.tree));
            prop_assert_eq!(grown.config, fresh.config);
            prop_assert_eq!(grown.datasources, fresh.datasources);
            prop_assert_eq!(grown.invalid, fresh.invalid);
            prop_assert_eq!((grown.inventory, grown.rollout), (fresh.inventory, fresh.rollout));
        }
    }
}
