//! Indents HCL by nesting and keeps everything else, comments above all.

/// Blanks per level.
const STEP: usize = 2;

/// Re-indents, trims line ends, and leaves at most one empty line in a row. Here-documents stay as they are.
pub fn indent(text: &str) -> String {
    let mut result = String::new();
    let mut state = State::default();
    let mut was_blank = true;
    for line in text.lines() {
        if let Some(end) = &state.heredoc {
            if line.trim() == end {
                state.heredoc = None;
            }
            result.push_str(line);
            result.push('\n');
            continue;
        }
        let content = line.trim();
        if content.is_empty() {
            if !was_blank && !state.in_comment {
                result.push('\n');
            }
            was_blank = true;
            continue;
        }
        was_blank = false;
        let in_comment = state.in_comment;
        let change = state.scan(content);
        let depth = state.depth.saturating_sub(change.closed_first);
        if in_comment {
            result.push_str(line.trim_end());
        } else {
            result.push_str(&" ".repeat(depth * STEP));
            result.push_str(content);
        }
        result.push('\n');
        state.depth = (state.depth + change.opened).saturating_sub(change.closed);
    }
    while result.ends_with("\n\n") {
        result.pop();
    }
    result
}

#[derive(Default)]
struct State {
    depth: usize,
    in_comment: bool,
    heredoc: Option<String>,
}

/// Brackets of one line outside texts and comments.
#[derive(Default)]
struct Change {
    opened: usize,
    closed: usize,
    /// Those at the start of the line: they pull their own line out.
    closed_first: usize,
}

impl State {
    fn scan(&mut self, line: &str) -> Change {
        let mut change = Change::default();
        let bytes = line.as_bytes();
        let mut at = 0;
        let mut in_text = false;
        while at < bytes.len() {
            let pair = (bytes[at], bytes.get(at + 1).copied().unwrap_or(0));
            if self.in_comment {
                if pair == (b'*', b'/') {
                    self.in_comment = false;
                    at += 1;
                }
            } else if in_text {
                match pair.0 {
                    b'\\' => at += 1,
                    b'"' => in_text = false,
                    _ => {}
                }
            } else {
                match pair {
                    (b'"', _) => in_text = true,
                    (b'#', _) | (b'/', b'/') => break,
                    (b'/', b'*') => {
                        self.in_comment = true;
                        at += 1;
                    }
                    (b'<', b'<') => {
                        self.heredoc = Some(line[at + 2..].trim_start_matches('-').trim().to_owned());
                        break;
                    }
                    (b'{' | b'[' | b'(', _) => change.opened += 1,
                    (b'}' | b']' | b')', _) => {
                        change.closed += 1;
                        if line[..at].bytes().all(|byte| matches!(byte, b'}' | b']' | b')' | b' ' | b',')) {
                            change.closed_first += 1;
                        }
                    }
                    _ => {}
                }
            }
            at += 1;
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_decides_and_comments_stay() {
        let text = "\n# why {\npath \"a/*\" {\ncapabilities = [\n\"read\",   # { not a brace\n\"list\" ]\n\n\n\n  }\n";
        let want = "# why {\npath \"a/*\" {\n  capabilities = [\n    \"read\",   # { not a brace\n    \"list\" ]\n\n}\n";
        assert_eq!(indent(text), want);
        assert_eq!(indent(want), want, "formatting again changes nothing");
    }

    #[test]
    fn braces_in_texts_and_block_comments_do_not_count() {
        let text = "path \"a/{\\\"{\" {\n/* {{{\n   kept as drawn\n*/\ncapabilities = [\"read\"]\n}\n";
        let want = "path \"a/{\\\"{\" {\n  /* {{{\n   kept as drawn\n*/\n  capabilities = [\"read\"]\n}\n";
        assert_eq!(indent(text), want);
    }
}
