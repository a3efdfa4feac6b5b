use super::{LeaseBody, parse};

fn body(key: &str, value: &str) -> Option<LeaseBody> {
    Some(LeaseBody {
        key: key.into(),
        value: value.into(),
    })
}

#[test]
fn fields_are_optional_and_null_leaves_them_as_they_are() {
    for text in [
        "{}",
        "null",
        " \t\r\n{ } ",
        r#"{"key":null,"value":null,"labels":null,"timestamp":null}"#,
    ] {
        assert_eq!(parse(text.as_bytes()), body("", ""), "{text}");
    }
    assert_eq!(parse(br#"{"key":"a","key":null}"#), body("a", ""));
}

#[test]
fn names_match_in_any_case_and_the_last_one_wins() {
    for text in [
        r#"{"KEY":"k","vAlUe":"v"}"#,
        r#"{"key":"x","Key":"k","value":"y","value":"v"}"#,
        r#"{"\u212aey":"k","value":"v"}"#,
        r#"{"\u006bey":"k","value":"v","label\u017f":{}}"#,
    ] {
        assert_eq!(parse(text.as_bytes()), body("k", "v"), "{text}");
    }
    assert_eq!(parse(r#"{"label\u017f":[]}"#.as_bytes()), None);
}

#[test]
fn what_is_unknown_is_skipped_as_long_as_it_is_json() {
    let unknown = r#"{"a":[1,-0.5e+7,{"b":[[],{}]},"x",true,false,null],"key":"k","c":{"d":"e"}}"#;
    assert_eq!(parse(unknown.as_bytes()), body("k", ""));
    for text in [
        r#"{"a":01}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":1e}"#,
        r#"{"a":-}"#,
        r#"{"a":+1}"#,
        r#"{"a":nul}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[1}"#,
        r#"{"a":{"b"}}"#,
        r#"{"a":{"b":1,}}"#,
        r#"{"a":{,}}"#,
        r#"{"a":tru}"#,
        r#"{"a":[}"#,
        r#"{"a":[,1]}"#,
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn labels_are_an_object_of_strings() {
    assert_eq!(
        parse(br#"{"labels":{"a":"b","c":null},"labels":{"d":"e"}}"#),
        body("", "")
    );
    for text in [
        r#"{"labels":{"a":1}}"#,
        r#"{"labels":["a"]}"#,
        r#"{"labels":"a"}"#,
        r#"{"labels":{"a":{"b":"c"}}}"#,
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_timestamp_is_a_strict_time() {
    let of = |time: &str| parse(format!(r#"{{"timestamp":{time}}}"#).as_bytes());
    assert_eq!(of(r#""2026-11-23T12:00:00.5+01:00""#), body("", ""));
    for time in [
        r#""""#,
        r#""2026-11-23""#,
        "1",
        "{}",
        r#""2026-11-23T12\u003a00:00Z""#,
    ] {
        assert_eq!(of(time), None, "{time}");
    }
}

#[test]
fn wrong_types_and_what_is_no_json_is_refused() {
    for text in [
        "",
        " ",
        "[]",
        "1",
        "\"k\"",
        "true",
        "{",
        "{}x",
        "{} {}",
        "{\"key\":\"k\",}",
        "{key:\"k\"}",
        "{'key':'k'}",
        "{\"key\":1}",
        "{\"value\":{}}",
        "{\"key\":\"a\nb\"}",
        "{\"key\":\"\\x\"}",
        "{\"key\":\"\\u12\"}",
        "{\"key\":\"\\u12g4\"}",
        "{\"key\":\"k",
        "\u{feff}{}",
        "{\"key\":\"k\"//\n}",
        "nullx",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn strings_are_read_as_go_reads_them() {
    for (text, key) in [
        (
            &br#"{"key":"a\"\\\/\b\f\n\r\t"}"#[..],
            "a\"\\/\u{8}\u{c}\n\r\t",
        ),
        (br#"{"key":"\u00e4\ud83d\ude00"}"#, "ä😀"),
        (br#"{"key":"\ud83d"}"#, "\u{fffd}"),
        (br#"{"key":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}"),
        (br#"{"key":"\ud83dx"}"#, "\u{fffd}x"),
        (br#"{"key":"\ud83d\u0041"}"#, "\u{fffd}A"),
        (b"{\"key\":\"\xff\xe2\x82x\"}", "\u{fffd}\u{fffd}\u{fffd}x"),
        (b"{\"key\":\"\xe2\\u0041\x7f\"}", "\u{fffd}A\u{7f}"),
        (b"{\"key\":\"\xed\xa0\x80\"}", "\u{fffd}\u{fffd}\u{fffd}"),
        (br#"{"key":"\u0000"}"#, "\0"),
    ] {
        assert_eq!(parse(text), body(key, ""), "{}", text.escape_ascii());
    }
}

#[test]
fn nesting_ends_where_it_ends_in_go() {
    let nested = |depth: usize| {
        let text = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        parse(text.as_bytes())
    };
    assert_eq!(nested(9_999), body("", ""));
    assert_eq!(nested(10_000), None);
    assert_eq!(
        parse(format!(r#"{{"a":{}"#, "[".repeat(1 << 20)).as_bytes()),
        None
    );
}
