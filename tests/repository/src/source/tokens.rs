//! Words and signs of masked code, each with its line and the inline modules that it stands in.

use super::mask::is_word;

/// A word, `::`, or one other sign.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    pub text: &'a str,
    /// From 1.
    pub line: usize,
    /// `mod name { … }` around it, outermost first.
    pub inside: Vec<&'a str>,
}

/// All of them, in order.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found: Vec<Token<'_>> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0;
    for (line, text) in words(code) {
        if text == "{" {
            depth += 1;
            if let [.., keyword, name] = found.as_slice()
                && keyword.text == "mod"
            {
                open.push((name.text, depth));
            }
        }
        if text == "}" {
            open.retain(|(_, at)| *at < depth);
            depth = depth.saturating_sub(1);
        }
        found.push(Token { text, line, inside: open.iter().map(|(name, _)| *name).collect() });
    }
    found
}

fn words(code: &str) -> Vec<(usize, &str)> {
    let lines = code.lines().enumerate();
    lines.flat_map(|(index, line)| words_of(line).into_iter().map(move |word| (index + 1, word))).collect()
}

fn words_of(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let word = rest.bytes().take_while(|byte| is_word(*byte)).count();
        let length = if word > 0 {
            word
        } else if rest.starts_with("::") {
            2
        } else {
            1
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn words_signs_lines_and_inline_modules() {
        let found = tokens("use a::b;\nmod c { fn d() { } }\nmod e;");
        let texts: Vec<_> = found.iter().map(|token| token.text).collect();
        assert_eq!(
            texts,
            [
                "use", "a", "::", "b", ";", "mod", "c", "{", "fn", "d", "(", ")", "{", "}", "}", "mod", "e",
                ";"
            ]
        );
        let inside = |text: &str| found.iter().find(|token| token.text == text).unwrap().inside.clone();
        assert_eq!(inside("d"), ["c"]);
        assert!(inside("e").is_empty());
        assert_eq!(found.last().unwrap().line, 3);
    }
}
