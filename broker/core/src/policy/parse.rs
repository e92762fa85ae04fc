//! From the text of a policy to its rules.

use serde_json::Value;

use super::capability::{Capabilities, Capability};
use super::hcl::{self, HclError, HclProblem, Item, Node};
use super::parameters::{ParameterList, ParameterRules};
use super::pattern::Pattern;
use super::{Permissions, Rule};
use crate::json::{self, Limits};
use crate::token::duration;

/// Longest policy text in bytes.
pub const POLICY_BYTES_MAX: usize = 512 << 10;
/// Most `path` blocks in one policy.
const RULES_MAX: usize = 4096;
/// Longest pattern in bytes.
const PATTERN_BYTES_MAX: usize = 2048;

const JSON_LIMITS: Limits = Limits {
    depth_max: hcl::DEPTH_MAX,
    members_max: 65_536,
    string_bytes_max: 64 << 10,
    number_bytes_max: 32,
    bytes_max: POLICY_BYTES_MAX,
};

/// Why a policy was refused. Lines count from 1; JSON policies have line 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than [`POLICY_BYTES_MAX`] bytes.
    #[error("the policy is longer than {POLICY_BYTES_MAX} bytes")]
    TooLong,
    /// More blocks than a policy may have.
    #[error("the policy has more than {RULES_MAX} path blocks")]
    TooManyRules,
    /// Nested too deeply.
    #[error("the policy is nested too deeply")]
    TooDeep,
    /// Neither HCL nor JSON.
    #[error("syntax error in line {line}")]
    Syntax {
        /// Where.
        line: u32,
    },
    /// A key that no policy has, here or at all.
    #[error(
        "unknown key in line {line}: expected path \"...\" {{ }} with capabilities, policy, allowed_parameters, denied_parameters, required_parameters, min_wrapping_ttl, max_wrapping_ttl or comment"
    )]
    UnknownKey {
        /// Where.
        line: u32,
    },
    /// A key that other servers know and this one cannot enforce.
    #[error("line {line} has a restriction that this server cannot enforce")]
    UnsupportedKey {
        /// Where.
        line: u32,
    },
    /// The same key twice in one block.
    #[error("duplicate key in line {line}")]
    DuplicateKey {
        /// Where.
        line: u32,
    },
    /// A value of the wrong type.
    #[error("wrong type of value in line {line}")]
    WrongType {
        /// Where.
        line: u32,
    },
    /// A word that is no capability, or no old policy word.
    #[error(
        "invalid capability in line {line}: expected create, read, update, delete, list, patch, sudo or deny"
    )]
    BadCapability {
        /// Where.
        line: u32,
    },
    /// A pattern with `+*`, an unfinished template, or more than 2048 bytes.
    #[error("invalid path in line {line}: '+*' is forbidden and templates must be closed")]
    BadPattern {
        /// Where.
        line: u32,
    },
    /// Wrapping bounds that are no durations or contradict each other.
    #[error("invalid wrapping TTL in line {line}")]
    BadTtl {
        /// Where.
        line: u32,
    },
}

impl From<HclError> for PolicyError {
    fn from(error: HclError) -> Self {
        match error.why {
            HclProblem::Syntax => Self::Syntax { line: error.line },
            HclProblem::TooDeep => Self::TooDeep,
        }
    }
}

/// The rules of a policy text. Blocks with templates are checked and then left out.
pub(super) fn rules(text: &str) -> Result<Vec<Rule>, PolicyError> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::TooLong);
    }
    let items = if text.trim_start().starts_with('{') { json_items(text)? } else { hcl::parse(text)? };
    let mut rules = Vec::new();
    for item in items {
        match item.keys[0].as_str() {
            "name" if item.keys.len() == 1 && matches!(item.value, Node::String(_)) => {}
            "path" => path_blocks(item, &mut rules)?,
            _ => return Err(PolicyError::UnknownKey { line: item.line }),
        }
    }
    Ok(rules)
}

fn json_items(text: &str) -> Result<Vec<Item>, PolicyError> {
    let map = json::parse(text.as_bytes(), JSON_LIMITS).map_err(|error| match error {
        json::JsonError::TooDeep => PolicyError::TooDeep,
        json::JsonError::DuplicateKey => PolicyError::DuplicateKey { line: 0 },
        _ => PolicyError::Syntax { line: 0 },
    })?;
    object_items(map)
}

fn object_items(map: json::Map) -> Result<Vec<Item>, PolicyError> {
    map.into_iter().map(|(key, value)| Ok(Item { keys: vec![key], value: node(value)?, line: 0 })).collect()
}

fn node(value: Value) -> Result<Node, PolicyError> {
    Ok(match value {
        Value::String(text) => Node::String(text),
        Value::Number(number) => Node::Number(number.to_string()),
        Value::Bool(flag) => Node::Bool(flag),
        Value::Array(items) => Node::List(items.into_iter().map(node).collect::<Result<_, _>>()?),
        Value::Object(map) => Node::Object(object_items(map)?),
        Value::Null => return Err(PolicyError::WrongType { line: 0 }),
    })
}

/// `path "x" {...}`, or the JSON forms `path = { "x" = {...} }` and lists of either.
fn path_blocks(item: Item, rules: &mut Vec<Rule>) -> Result<(), PolicyError> {
    let line = item.line;
    match (item.keys.len(), item.value) {
        (2, Node::Object(block)) => {
            if rules.len() >= RULES_MAX {
                return Err(PolicyError::TooManyRules);
            }
            rules.extend(rule(&item.keys[1], block, line)?);
            Ok(())
        }
        (1 | 2, Node::List(blocks)) => blocks
            .into_iter()
            .try_for_each(|value| path_blocks(Item { keys: item.keys.clone(), value, line }, rules)),
        (1, Node::Object(named)) => named.into_iter().try_for_each(|inner| match inner.keys.len() {
            1 => {
                let keys = vec![item.keys[0].clone(), inner.keys[0].clone()];
                path_blocks(Item { keys, value: inner.value, line: inner.line }, rules)
            }
            _ => Err(PolicyError::UnknownKey { line: inner.line }),
        }),
        _ => Err(PolicyError::WrongType { line }),
    }
}

/// One rule; `None` if its path has a template.
fn rule(path: &str, block: Vec<Item>, line: u32) -> Result<Option<Rule>, PolicyError> {
    if path.len() > PATTERN_BYTES_MAX {
        return Err(PolicyError::BadPattern { line });
    }
    let permissions = permissions(block, line)?;
    if has_template(path).map_err(|()| PolicyError::BadPattern { line })? {
        return Ok(None);
    }
    let pattern = Pattern::parse(path).map_err(|_| PolicyError::BadPattern { line })?;
    Ok(Some(Rule { pattern, permissions }))
}

/// Whether `{{...}}` occurs; an error if braces are left open, nested, or closed without being opened.
fn has_template(path: &str) -> Result<bool, ()> {
    let mut rest = path;
    let mut found = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, tail) = after.split_once("}}").ok_or(())?;
        if before.contains("}}") || inside.contains("{{") {
            return Err(());
        }
        found = true;
        rest = tail;
    }
    if rest.contains("}}") { Err(()) } else { Ok(found) }
}

fn permissions(block: Vec<Item>, block_line: u32) -> Result<Permissions, PolicyError> {
    let mut found = Permissions::default();
    let mut seen = Vec::new();
    for item in block {
        let line = item.line;
        let [key] = item.keys.as_slice() else { return Err(PolicyError::UnknownKey { line }) };
        if seen.contains(key) {
            return Err(PolicyError::DuplicateKey { line });
        }
        permission(&mut found, key, item.value, line)?;
        seen.push(key.clone());
    }
    let (min, max) = (found.wrapping_ttl_secs_min, found.wrapping_ttl_secs_max);
    if min > 0 && max > 0 && max < min {
        return Err(PolicyError::BadTtl { line: block_line });
    }
    if found.capabilities.denies() {
        found.parameters = ParameterRules::default();
    }
    Ok(found)
}

/// One line of a path's block.
fn permission(found: &mut Permissions, key: &str, value: Node, line: u32) -> Result<(), PolicyError> {
    match (key, value) {
        ("capabilities", Node::List(words)) => {
            found.capabilities = capabilities(found.capabilities, &words, line)?;
        }
        ("policy", Node::String(word)) => {
            let words = old_policy(&word).ok_or(PolicyError::BadCapability { line })?;
            found.capabilities =
                words.iter().fold(found.capabilities, |set, &capability| set.with(capability));
        }
        ("allowed_parameters", value) => {
            found.parameters.allowed = Some(parameter_list(value).ok_or(PolicyError::WrongType { line })?);
        }
        ("denied_parameters", value) => {
            found.parameters.denied = Some(parameter_list(value).ok_or(PolicyError::WrongType { line })?);
        }
        ("required_parameters", Node::List(names)) => {
            found.parameters.required = strings(&names)
                .ok_or(PolicyError::WrongType { line })?
                .into_iter()
                .map(|name| name.to_lowercase())
                .collect();
        }
        ("min_wrapping_ttl", value) => found.wrapping_ttl_secs_min = ttl_secs(&value, line)?,
        ("max_wrapping_ttl", value) => found.wrapping_ttl_secs_max = ttl_secs(&value, line)?,
        ("comment", Node::String(_)) => {}
        (
            "expiration"
            | "pagination_limit"
            | "list_scan_response_keys_filter_path"
            | "mfa_methods"
            | "control_group"
            | "subscribe_event_types",
            _,
        ) => return Err(PolicyError::UnsupportedKey { line }),
        ("capabilities" | "policy" | "required_parameters" | "comment", _) => {
            return Err(PolicyError::WrongType { line });
        }
        _ => return Err(PolicyError::UnknownKey { line }),
    }
    Ok(())
}

fn capabilities(mut set: Capabilities, words: &[Node], line: u32) -> Result<Capabilities, PolicyError> {
    for word in strings(words).ok_or(PolicyError::WrongType { line })? {
        match word {
            // Capabilities of other servers for operations that do not exist here: they grant nothing.
            "scan" | "subscribe" | "recover" => {}
            _ => set = set.with(Capability::from_name(word).ok_or(PolicyError::BadCapability { line })?),
        }
    }
    Ok(set)
}

/// The words of the old `policy = "..."`.
fn old_policy(word: &str) -> Option<&'static [Capability]> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    Some(match word {
        "deny" => &[Deny],
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        _ => return None,
    })
}

fn strings(nodes: &[Node]) -> Option<Vec<&str>> {
    nodes.iter().map(|node| if let Node::String(text) = node { Some(text.as_str()) } else { None }).collect()
}

/// A map of lists. HCL 1 also lets the map be written as blocks, alone or in a list.
fn parameter_list(value: Node) -> Option<ParameterList> {
    let mut list = ParameterList::new();
    let objects = match value {
        Node::Object(items) => vec![items],
        Node::List(nodes) => nodes
            .into_iter()
            .map(|node| if let Node::Object(items) = node { Some(items) } else { None })
            .collect::<Option<_>>()?,
        _ => return None,
    };
    for item in objects.into_iter().flatten() {
        let ([name], Node::List(values)) = (item.keys.as_slice(), item.value) else { return None };
        let values = values.into_iter().map(value_of).collect::<Option<Vec<_>>>()?;
        if list.insert(name.to_lowercase(), values).is_some() {
            return None;
        }
    }
    Some(list)
}

fn value_of(node: Node) -> Option<Value> {
    Some(match node {
        Node::String(text) => Value::String(text),
        Node::Number(number) => Value::Number(number.parse().ok()?),
        Node::Bool(flag) => Value::Bool(flag),
        Node::List(nodes) => Value::Array(nodes.into_iter().map(value_of).collect::<Option<_>>()?),
        Node::Object(items) => {
            let mut map = json::Map::new();
            for item in items {
                let [key] = item.keys.as_slice() else { return None };
                map.insert(key.clone(), value_of(item.value)?);
            }
            Value::Object(map)
        }
    })
}

fn ttl_secs(value: &Node, line: u32) -> Result<u64, PolicyError> {
    match value {
        Node::String(text) | Node::Number(text) => {
            duration::parse_secs(text).map_err(|_| PolicyError::BadTtl { line })
        }
        _ => Err(PolicyError::WrongType { line }),
    }
}
