use super::*;
use crate::model::lenient::List;

/// The calls, as `id name arguments`, of these lists of pieces.
fn calls(lists: &[&str]) -> Vec<String> {
    let mut calls = ToolCalls::default();
    for list in lists {
        let list: List<CallDelta<'_>> = serde_json::from_str(list).unwrap();
        calls.add_list(&list.0).unwrap();
    }
    let text = |call: ToolCall| format!("{} {} {}", call.id, call.name, call.arguments);
    calls.finish().0.into_iter().map(text).collect()
}

fn piece(index: &str, id: &str, name: &str, arguments: &str) -> String {
    let mut members = Vec::new();
    if !index.is_empty() {
        members.push(format!("\"index\":{index}"));
    }
    if id != "-" {
        members.push(format!("\"id\":\"{id}\""));
    }
    let arguments = serde_json::to_string(arguments).unwrap();
    let name = if name == "-" {
        String::new()
    } else {
        format!("\"name\":\"{name}\",")
    };
    members.push(format!("\"function\":{{{name}\"arguments\":{arguments}}}"));
    format!("{{{}}}", members.join(","))
}

/// The calls of pieces `(index, id, name, arguments)`, each in a list of its own. `-` is a missing member.
fn of_pieces(pieces: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let pieces = pieces
        .iter()
        .map(|(index, id, name, arguments)| piece(index, id, name, arguments));
    let lists: Vec<_> = pieces.map(|piece| format!("[{piece}]")).collect();
    calls(&lists.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn pieces_as_specified() {
    let pieces = [
        ("0", "a", "add", ""),
        ("0", "-", "-", "{\"x\""),
        ("1", "b", "list", ""),
        ("0", "-", "-", ":1}"),
        ("1", "-", "-", "{}"),
    ];
    assert_eq!(of_pieces(&pieces), ["a add {\"x\":1}", "b list {}"]);
}

#[test]
fn parallel_calls_with_the_same_index() {
    for id in ["a", "-", ""] {
        let other = if id == "a" { "b" } else { id };
        let pieces = [
            ("0", id, "add", "{\"x\":1}"),
            ("0", other, "add", "{\"x\":1}"),
            ("0", other, "list", "{}"),
        ];
        assert_eq!(of_pieces(&pieces).len(), 3, "{id}");
    }
    let in_pieces = [
        ("0", "a", "add", ""),
        ("0", "-", "-", "{\"x\""),
        ("0", "-", "-", ":1}"),
        ("0", "b", "add", ""),
        ("0", "-", "-", "{\"y\":2}"),
    ];
    assert_eq!(of_pieces(&in_pieces), ["a add {\"x\":1}", "b add {\"y\":2}"]);
    let without_arguments = [("0", "a", "list", ""), ("0", "b", "list", "")];
    assert_eq!(of_pieces(&without_arguments), ["a list ", "b list "]);
}

#[test]
fn pieces_without_index() {
    let pieces = [
        ("", "a", "add", ""),
        ("", "-", "-", "{\"x\""),
        ("", "-", "-", ":1}"),
        ("", "b", "list", "{}"),
    ];
    assert_eq!(of_pieces(&pieces), ["a add {\"x\":1}", "b list {}"]);
    let without_ids = [
        ("", "-", "add", "{\"x\":1}"),
        ("", "-", "add", "{\"x\""),
        ("", "-", "-", ":2}"),
    ];
    assert_eq!(of_pieces(&without_ids), [" add {\"x\":1}", " add {\"x\":2}"]);
    assert_eq!(of_pieces(&[("", "-", "-", "{\"x\":1}")]), ["  {\"x\":1}"]);
}

#[test]
fn several_calls_in_one_list() {
    let list = format!(
        "[{},{},{}]",
        piece("", "-", "list", ""),
        piece("", "-", "list", ""),
        piece("", "-", "add", "{}")
    );
    assert_eq!(calls(&[&list]), [" list ", " list ", " add {}"]);
    let list = format!(
        "[{},{}]",
        piece("0", "", "add", "{}"),
        piece("0", "", "add", "{}")
    );
    assert_eq!(calls(&[&list]), [" add {}", " add {}"]);
    let list = format!("[{},{}]", piece("0", "a", "add", ""), piece("0", "-", "-", "{}"));
    assert_eq!(calls(&[&list]), ["a add {}"]);
}

#[test]
fn negative_and_textual_indices() {
    let pieces = [("-1", "a", "add", "{}"), ("-1", "b", "list", "{}")];
    assert_eq!(of_pieces(&pieces), ["a add {}", "b list {}"]);
    let pieces = [
        ("\"0\"", "a", "add", "{\"x\""),
        ("\"1\"", "b", "list", "{}"),
        ("0", "-", "-", ":1}"),
    ];
    assert_eq!(of_pieces(&pieces), ["a add {\"x\":1}", "b list {}"]);
}

#[test]
fn index_that_counts_pieces() {
    for id in ["-", "a"] {
        let pieces = [
            ("0", "a", "add", ""),
            ("1", id, "-", "{\"x\""),
            ("2", id, "-", ":1}"),
        ];
        assert_eq!(of_pieces(&pieces), ["a add {\"x\":1}"], "{id}");
    }
}

#[test]
fn ids_and_names_in_every_piece() {
    for (index, id) in [("0", "a"), ("0", "-"), ("", "a"), ("", "-")] {
        let pieces = [
            (index, id, "add", ""),
            (index, id, "add", "{\"x\""),
            (index, id, "add", ":1}"),
            (index, id, "add", ""),
        ];
        let expected = format!("{} add {{\"x\":1}}", id.trim_matches('-'));
        assert_eq!(of_pieces(&pieces), [expected], "{index:?} {id}");
    }
}

#[test]
fn another_id_in_every_piece() {
    for index in ["0", ""] {
        let pieces = [
            (index, "a", "add", ""),
            (index, "b", "-", "{\"x\""),
            (index, "c", "-", ":1}"),
        ];
        assert_eq!(of_pieces(&pieces), ["a add {\"x\":1}"], "{index:?}");
    }
}

#[test]
fn names_in_pieces() {
    let pieces = [
        ("0", "a", "add", ""),
        ("0", "-", "_task", ""),
        ("0", "-", "-", "{}"),
    ];
    assert_eq!(of_pieces(&pieces), ["a add_task {}"]);
    let growing = [("0", "a", "add", ""), ("0", "a", "add_task", "{}")];
    assert_eq!(of_pieces(&growing), ["a add_task {}"]);
    let late = [("0", "a", "-", ""), ("0", "-", "add", ""), ("0", "-", "-", "{}")];
    assert_eq!(of_pieces(&late), ["a add {}"]);
    let late_id = [("", "-", "-", ""), ("", "a", "add", ""), ("", "-", "-", "{}")];
    assert_eq!(of_pieces(&late_id), ["a add {}"]);
}

#[test]
fn calls_with_the_same_id() {
    let pieces = [
        ("0", "a", "list", "{}"),
        ("1", "a", "list", "{}"),
        ("2", "a", "list", ""),
    ];
    assert_eq!(of_pieces(&pieces), ["a list {}", "a list {}", "a list "]);
    let in_pieces = [
        ("0", "a", "list", ""),
        ("0", "-", "-", "{}"),
        ("1", "a", "list", ""),
        ("1", "-", "-", "{}"),
    ];
    assert_eq!(of_pieces(&in_pieces), ["a list {}", "a list {}"]);
}

#[test]
fn repeated_call_is_one_call() {
    let pieces = [("0", "a", "add", "{\"x\":1}"), ("0", "a", "add", "{\"x\":1}")];
    assert_eq!(of_pieces(&pieces), ["a add {\"x\":1}"]);
}

#[test]
fn members_outside_of_function_and_arguments_as_an_object() {
    let list = r#"[{"name":"add","arguments":{"x":1}},{"id":5,"function":{"name":"list","arguments":null}}]"#;
    assert_eq!(calls(&[list]), [" add {\"x\":1}", "5 list "]);
}

#[test]
fn empty_calls_are_left_out() {
    assert_eq!(
        calls(&["[{}]", "[{\"index\":-1},{\"id\":\"a\",\"function\":null}]"]),
        [""; 0]
    );
}

#[test]
fn too_many_calls_are_rejected() {
    let list: Vec<_> = (0..=MAX_CALLS)
        .map(|index| piece(&index.to_string(), "-", "add", "{}"))
        .collect();
    let json = format!("[{}]", list.join(","));
    let list: List<CallDelta<'_>> = serde_json::from_str(&json).unwrap();
    assert!(matches!(
        ToolCalls::default().add_list(&list.0),
        Err(ModelError::TooLarge)
    ));
}
