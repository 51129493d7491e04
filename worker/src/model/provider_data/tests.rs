use serde_json::json;

use super::*;

fn collected(deltas: &[Value], calls: Vec<Option<Value>>) -> Option<Value> {
    let mut collector = Collector::default();
    for delta in deltas {
        collector.add(&serde_json::from_str(&delta.to_string()).unwrap());
    }
    collector.finish("host/model", calls).map(|data| *data)
}

#[test]
fn pieces_of_reasoning_are_joined() {
    for (name, empty) in [("reasoning_content", true), ("reasoning", false)] {
        let deltas = [
            json!({name: ""}),
            json!({name: "a"}),
            json!({name: null}),
            json!({name: "b"}),
        ];
        let data = collected(&deltas, Vec::new()).unwrap();
        assert_eq!(data, json!({"source": "host/model", "message": {name: "ab"}}));
        let only_empty = collected(&[json!({name: ""})], Vec::new());
        assert_eq!(
            only_empty.is_some(),
            empty,
            "an empty text is sent back where providers check for it"
        );
    }
    assert_eq!(collected(&[json!({"content": "a"})], vec![None]), None);
}

#[test]
fn details_are_merged_and_replace_the_text() {
    let deltas = [
        json!({"reasoning": "ab", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "a"}]}),
        json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "b", "signature": null}]}),
        json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "s"}]}),
        json!({"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "x"}]}),
        json!({"reasoning_details": [{"type": "reasoning.encrypted", "index": 0, "data": "y"}]}),
    ];
    let data = collected(&deltas, Vec::new()).unwrap();
    let expected = json!([
        {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 0, "data": "x"},
        {"type": "reasoning.encrypted", "index": 0, "data": "y"},
    ]);
    assert_eq!(data["message"], json!({"reasoning_details": expected}));
}

#[test]
fn data_of_calls_is_merged() {
    let mut data = None;
    for delta in [
        r#"{"extra_content":{"google":{"a":1}}}"#,
        r#"{"extra_content":{"google":{"thought_signature":"s"}},"function":{"provider_specific_fields":{"b":2}}}"#,
        r#"{"extra_content":null,"function":null}"#,
    ] {
        add_call_data(&mut data, &serde_json::from_str(delta).unwrap());
    }
    let expected = json!({
        "extra_content": {"google": {"a": 1, "thought_signature": "s"}},
        "provider_specific_fields": {"b": 2},
    });
    assert_eq!(data, Some(expected));
}

#[test]
fn data_beyond_the_limit_is_dropped() {
    let long = "x".repeat(MAX_BYTES / 2 + 1);
    assert!(collected(&[json!({"reasoning": long})], Vec::new()).is_some());
    assert_eq!(
        collected(
            &[json!({"reasoning": long}), json!({"reasoning": long})],
            Vec::new()
        ),
        None
    );
    assert_eq!(
        collected(&[json!({"reasoning": long})], vec![Some(json!({"id": long}))]),
        None
    );
}

#[test]
fn data_is_sent_only_to_its_source() {
    let call = |id: &str| ToolCall {
        id: id.to_owned(),
        name: "add".to_owned(),
        arguments: "{}".to_owned(),
    };
    let message = |calls: Vec<ToolCall>| Message::Assistant {
        content: String::new(),
        tool_calls: calls,
        provider_data: Some(Box::new(json!({
            "source": "host/model",
            "message": {"reasoning_content": "r"},
            "calls": [{"id": "x"}, null],
        }))),
    };
    let both = message(vec![call("a"), call("b")]);
    assert_eq!(MessageData::of(&both, "host/model").reasoning_content, Some("r"));
    assert_eq!(of_calls(&both, "host/model").len(), 2);
    assert_eq!(MessageData::of(&both, "host/other").reasoning_content, None);
    assert!(of_calls(&both, "host/other").is_empty());
    let one_lost = message(vec![call("a")]);
    assert_eq!(
        MessageData::of(&one_lost, "host/model").reasoning_content,
        Some("r")
    );
    assert!(of_calls(&one_lost, "host/model").is_empty());
}
