//! How long things are: functions, files, lines of comments. The figures are printed.

mod comments;
mod functions;

use std::collections::BTreeSet;

use self::functions::Function;
use crate::source::{Sources, read, test_files};

/// Half of all functions outside tests are not longer than this, in lines from `fn` to the closing brace.
const MEDIAN_MAX: usize = 8;
/// Nine of ten.
const MOST_MAX: usize = 20;
/// All.
const FUNCTION_MAX: usize = 60;
/// A file, if it holds no vectors.
const FILE_MAX: usize = 500;
/// Columns of a line with a comment.
const COMMENT_MAX: usize = 110;

#[test]
fn functions_outside_tests_are_short() {
    let functions = functions(&read(is_rust));
    let lines: Vec<usize> = functions.iter().map(|function| function.lines).collect();
    let (median, most, longest) = (within(&lines, 50), within(&lines, 90), within(&lines, 100));
    println!("{} functions: median {median} lines, 90 % within {most}, longest {longest}", lines.len());
    let long = functions.iter().filter(|function| function.lines > FUNCTION_MAX);
    let mut wrong: Vec<String> =
        long.map(|function| format!("{}: {} lines", function.at, function.lines)).collect();
    wrong.extend((median > MEDIAN_MAX).then(|| format!("the median is {median}; {MEDIAN_MAX} is wanted")));
    wrong.extend((most > MOST_MAX).then(|| format!("90 % are within {most}; {MOST_MAX} is wanted")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let sources = read(|path| is_rust(path) && !holds_vectors(path));
    let lengths: Vec<usize> = sources.values().map(|text| text.lines().count()).collect();
    let (median, longest) = (within(&lengths, 50), within(&lengths, 100));
    println!("{} files: median {median} lines, longest {longest}", lengths.len());
    let long = sources.iter().filter(|(_, text)| text.lines().count() > FILE_MAX);
    let wrong: Vec<String> =
        long.map(|(path, text)| format!("{path}: {} lines", text.lines().count())).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn comments_are_narrow() {
    let sources = read(is_rust);
    let wide = sources.iter().flat_map(|(path, text)| comments::wider_than(COMMENT_MAX, path, text));
    let wrong: Vec<String> = wide.collect();
    println!("{} lines of comments are wider than {COMMENT_MAX} columns", wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn holds_vectors(path: &str) -> bool {
    path.split(['/', '.']).any(|part| part == "vectors")
}

fn functions(sources: &Sources) -> Vec<Function> {
    let tests: BTreeSet<String> = test_files(sources);
    let shipped = sources.iter().filter(|(path, _)| !tests.contains(*path));
    shipped.flat_map(|(path, text)| functions::of(path, text)).collect()
}

/// The length that so many of a hundred do not exceed.
fn within(lengths: &[usize], percent: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

#[test]
fn shares_of_lengths() {
    assert_eq!(within(&[9, 1, 5], 50), 5);
    let ten: Vec<usize> = (1..=10).collect();
    assert_eq!((within(&ten, 50), within(&ten, 90), within(&ten, 100)), (5, 9, 10));
    assert_eq!(within(&[], 50), 0);
}
