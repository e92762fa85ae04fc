#![allow(clippy::unwrap_used)]
use serde_json::json;

use super::*;

fn fields(value: Value) -> Fields {
    Fields::new(value.as_object().unwrap().clone())
}

#[test]
fn booleans_in_every_spelling() {
    let all = fields(json!({"a": true, "b": "true", "c": "0", "d": 1, "e": null, "f": 2, "g": "yes"}));
    let read = all.reader();
    assert_eq!(read.bool("a"), Ok(Some(true)));
    assert_eq!(read.bool("b"), Ok(Some(true)));
    assert_eq!(read.bool("c"), Ok(Some(false)));
    assert_eq!(read.bool("d"), Ok(Some(true)));
    assert_eq!(read.bool("e"), Ok(None));
    assert_eq!(read.bool("f"), Err(FieldError { name: "f", expected: "a boolean" }));
    assert!(read.bool("g").is_err());
    assert_eq!(read.bool("absent"), Ok(None));
}

#[test]
fn durations_are_seconds_or_go_or_days() {
    let all = fields(json!({"a": 30, "b": "30", "c": "1h30m", "d": "1d", "e": -1, "f": "", "g": [1]}));
    let read = all.reader();
    assert_eq!(read.duration_secs("a"), Ok(Some(30)));
    assert_eq!(read.duration_secs("b"), Ok(Some(30)));
    assert_eq!(read.duration_secs("c"), Ok(Some(5400)));
    assert_eq!(read.duration_secs("d"), Ok(Some(86_400)));
    assert!(read.duration_secs("e").is_err());
    assert_eq!(read.signed_duration_ms("e"), Ok(Some(-1000)));
    assert_eq!(read.duration_secs("f"), Ok(Some(0)));
    assert!(read.duration_secs("g").is_err());
}

/// As a list they were refused, as a string cut.
#[test]
fn a_list_that_is_too_long_is_refused_in_either_form() {
    let names = vec!["x"; ELEMENTS_MAX + 1];
    for (long, longest) in
        [(json!(names), json!(names[1..])), (json!(names.join(",")), json!(names[1..].join(",")))]
    {
        assert!(fields(json!({ "a": long })).reader().comma_list("a").is_err());
        let longest = fields(json!({ "a": longest })).reader().comma_list("a").unwrap().unwrap();
        assert_eq!(longest.len(), ELEMENTS_MAX);
    }
}

#[test]
fn lists_come_as_lists_or_with_commas() {
    let all =
        fields(json!({"a": "x, y,,z ", "b": ["x", " y", ""], "c": [1, "2"], "d": "1,2", "e": {"x": 1}}));
    let read = all.reader();
    assert_eq!(read.comma_list("a").unwrap().unwrap(), ["x", "y", "z"]);
    assert_eq!(read.comma_list("b").unwrap().unwrap(), ["x", "y"]);
    assert_eq!(read.count_list("c"), Ok(Some(vec![1, 2])));
    assert_eq!(read.count_list("d"), Ok(Some(vec![1, 2])));
    assert!(read.comma_list("e").is_err());
    assert_eq!(read.string_list("a").unwrap().unwrap(), ["x, y,,z "]);
}

#[test]
fn maps_come_as_maps_or_pairs() {
    let all = fields(json!({"a": {"k": 1, "l": "v"}, "b": ["k=1", "l=v=w"], "c": ["k"], "d": {"k": [1]}}));
    let read = all.reader();
    assert_eq!(read.pairs("a").unwrap().unwrap()["k"], "1");
    assert_eq!(read.pairs("b").unwrap().unwrap()["l"], "v=w");
    assert!(read.pairs("c").is_err());
    assert!(read.pairs("d").is_err());
    assert!(read.string_map("a").is_err());
    let patch = fields(json!({"a": {"k": null, "l": "v", "m": true}, "b": {"k": [1]}}));
    let patched = patch.reader().weak_patch("a").unwrap().unwrap();
    assert_eq!((&patched["k"], &patched["l"]), (&None, &Some("v".to_owned())));
    assert_eq!(patched["m"].as_deref(), Some("1"));
    assert!(patch.reader().weak_patch("b").is_err());
}

#[test]
fn null_clears_where_a_field_is_asked_so() {
    let all = fields(json!({"n": null, "s": "5"}));
    let read = all.reader();
    assert_eq!(read.or_cleared("n", Reader::count), Ok(Some(0)));
    assert_eq!(read.or_cleared("s", Reader::count), Ok(Some(5)));
    assert_eq!(read.or_cleared("absent", Reader::count), Ok(None));
    assert_eq!(read.count("n"), Ok(None), "elsewhere it is as good as absent");
}

#[test]
fn a_limit_of_nothing_or_less_is_none() {
    let all = fields(json!({"a": -1, "b": "-1", "c": 0, "d": "3", "e": "x"}));
    let read = all.reader();
    for none in ["a", "b", "c", "absent"] {
        assert_eq!(read.limit(none), Ok(None), "{none}");
    }
    assert_eq!(read.limit("d"), Ok(Some(3)));
    assert!(read.limit("e").is_err());
}

#[test]
fn numbers_and_times() {
    let all = fields(json!({"a": "12", "b": 1.5, "c": -1, "t": "2024-02-29T12:34:56Z", "u": 1_709_210_096}));
    let read = all.reader();
    assert_eq!(read.int("a"), Ok(Some(12)));
    assert!(read.int("b").is_err());
    assert_eq!(read.int("c"), Ok(Some(-1)));
    assert!(read.count("c").is_err());
    assert_eq!(read.time_ms("t"), Ok(Some(1_709_210_096_000)));
    assert_eq!(read.time_ms("u"), Ok(Some(1_709_210_096_000)));
}

#[test]
fn the_rest_is_warned_about_without_repeating_odd_names() {
    let all = fields(json!({"policy": "x", "polciy": 1, "a b\nc": 2}));
    let read = all.reader();
    assert!(read.string("policy").unwrap().is_some());
    let warning = "Endpoint ignored these unrecognized parameters: [polciy] and 1 more";
    assert_eq!(all.warnings(), [warning]);
    assert_eq!(all.reader().string("polciy").unwrap().unwrap(), "1");
    let warning = "Endpoint ignored these unrecognized parameters: [] and 1 more";
    assert_eq!(all.warnings(), [warning], "readers of the same fields share their marks");
    assert_eq!(all.reader().unrecognised().as_deref(), Some(warning));
    assert!(all.warnings().is_empty(), "it is told once");
}

#[test]
fn the_rest_is_warned_about_at_every_level() {
    let all = fields(json!({"config": {"ttl": 1, "tll": 2, "more": {"x": 1, "y": 2}}, "options": {"a": 1}}));
    let read = all.reader();
    let config = read.inside("config").unwrap();
    assert_eq!(config.count("ttl"), Ok(Some(1)));
    assert_eq!(config.inside("more").unwrap().count("x"), Ok(Some(1)));
    assert!(read.object("options").unwrap().is_some());
    let warning = "Endpoint ignored these unrecognized parameters: [config.more.y config.tll]";
    assert_eq!(all.warnings(), [warning], "an object that was read as a whole has no rest");
    assert!(read.inside("absent").unwrap().string("x").unwrap().is_none());
    assert!(fields(json!({"config": 1})).reader().inside("config").is_err());
}

#[test]
fn what_has_no_effect_is_named_if_it_asks_for_something() {
    let all = fields(json!({"local": true, "seal_wrap": false, "name": "a", "role": "b"}));
    let read = all.reader();
    read.idle(&["local", "seal_wrap", "absent"]);
    read.captured(&["name", "role"], "a");
    let [idle, replaced] = &all.warnings()[..] else { panic!("{:?}", all.warnings()) };
    assert_eq!(idle, "These parameters are known and have no effect here: [local]");
    assert!(
        replaced.starts_with("Endpoint replaced the value of these parameters")
            && replaced.ends_with("[role]")
    );
}

#[test]
fn what_stands_where_nobody_reads_is_named_too() {
    let query = fields(json!({"cas": "1"}));
    let all = fields(json!({"a": 1})).beside(query.as_map());
    assert_eq!(all.whole().len(), 1);
    assert_eq!(all.warnings(), ["Endpoint ignored these unrecognized parameters: [cas]"]);
    let mut none = fields(json!({}));
    assert!(none.warnings().is_empty());
    none.set_unread_body(true);
    assert_eq!(none.warnings(), [UNREAD_BODY]);
}

#[test]
fn wiping_reaches_every_text() {
    let mut value = json!({"a": "hunter2", "b": ["hunter2", {"c": "hunter2"}], "d": 1});
    wipe(&mut value);
    assert_eq!(value, json!({"a": "", "b": ["", {"c": ""}], "d": 1}));
}

#[test]
fn errors_name_the_field_and_never_the_value() {
    let all = fields(json!({"ttl": "hunter2"}));
    let text = all.reader().duration_secs("ttl").unwrap_err().to_string();
    assert!(
        text.starts_with("Field validation failed: ") && text.contains("ttl") && !text.contains("hunter2")
    );
}
