//! Filters and tests beyond minijinja's own: those that playbooks of this field really use, under the names they know.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

type Filtered = Result<Value, Error>;

/// Names of tests, for suggestions.
pub const TESTS: &[&str] = &[
    "changed", "contains", "defined", "divisibleby", "endingwith", "eq", "even", "failed", "false", "falsy", "ge", "gt",
    "in", "iterable", "le", "lower", "lt", "mapping", "match", "ne", "none", "number", "odd", "regex", "sameas", "search",
    "sequence", "skipped", "startingwith", "string", "subset", "succeeded", "success", "superset", "true", "truthy",
    "undefined", "upper", "version",
];

/// Names of every filter, for suggestions.
pub fn names() -> impl Iterator<Item = &'static str> {
    const BUILT_IN: &[&str] = &[
        "abs", "attr", "batch", "capitalize", "chain", "default", "dictsort", "first", "float", "format", "groupby",
        "indent", "int", "items", "join", "last", "length", "lines", "list", "lower", "map", "max", "min", "pprint",
        "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "slice", "sort", "split",
        "string", "sum", "title", "tojson", "trim", "unique", "upper", "urlencode", "zip",
    ];
    const OURS: &[&str] = &[
        "b64decode", "b64encode", "basename", "bool", "combine", "dict2items", "difference", "dirname", "flatten",
        "from_json", "from_yaml", "hash", "intersect", "ipaddr", "items2dict", "json_query", "mandatory", "quote",
        "random", "regex_escape", "regex_findall", "regex_replace", "regex_search", "splitext",
        "symmetric_difference", "ternary", "to_json", "to_nice_json", "to_nice_yaml", "to_yaml", "union",
    ];
    BUILT_IN.iter().chain(OURS).copied()
}

pub fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("bool", |value: Value| truth(&value));
    environment.add_filter("basename", |path: &str| path.rsplit('/').next().unwrap_or("").to_owned());
    environment.add_filter("dirname", |path: &str| dirname(path).to_owned());
    environment.add_filter("splitext", splitext);
    environment.add_filter("ternary", ternary);
    environment.add_filter("quote", |value: Value| crate::shell::quoted(&value.to_string()));
    environment.add_filter("flatten", flatten);
    environment.add_filter("combine", combine);
    environment.add_filter("dict2items", dict2items);
    environment.add_filter("items2dict", items2dict);
    environment.add_filter("union", |left: Value, right: Value| sets(&left, &right, Set::Union));
    environment.add_filter("intersect", |left: Value, right: Value| sets(&left, &right, Set::Intersection));
    environment.add_filter("difference", |left: Value, right: Value| sets(&left, &right, Set::Difference));
    environment.add_filter("symmetric_difference", |left: Value, right: Value| sets(&left, &right, Set::Symmetric));
    environment.add_filter("regex_replace", regex_replace);
    environment.add_filter("regex_search", regex_search);
    environment.add_filter("regex_findall", regex_findall);
    environment.add_filter("regex_escape", |text: &str| regex::escape(text));
    environment.add_filter("from_json", |text: &str| from_json(text));
    environment.add_filter("to_json", |value: Value, options: Kwargs| {
        let indent = options.get::<Option<usize>>("indent")?;
        to_json(&value, indent.is_some_and(|indent| indent > 0))
    });
    environment.add_filter("to_nice_json", |value: Value, _options: Kwargs| to_json(&value, true));
    environment.add_filter("from_yaml", |text: &str| from_yaml(text));
    environment.add_filter("to_yaml", |value: Value| to_yaml(&value));
    environment.add_filter("to_nice_yaml", |value: Value, _options: Kwargs| to_yaml(&value));
    environment.add_filter("json_query", json_query);
    environment.add_filter("b64encode", b64encode);
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("hash", hash);
    environment.add_filter("mandatory", |value: Value| value);
    environment.add_filter("random", random);
    environment.add_filter("ipaddr", ipaddr);
    environment.add_test("version", version);
    environment.add_test("truthy", |value: Value| value.is_true());
    environment.add_test("falsy", |value: Value| !value.is_true());
    environment.add_test("match", |text: &str, pattern: &str| {
        regex(&format!("^(?:{pattern})")).map(|regex| regex.is_match(text))
    });
    environment.add_test("search", |text: &str, pattern: &str| regex(pattern).map(|regex| regex.is_match(text)));
    environment.add_test("regex", |text: &str, pattern: &str| regex(pattern).map(|regex| regex.is_match(text)));
    environment.add_test("contains", |list: Value, item: Value| list.try_iter().map(|mut items| items.any(|one| one == item)));
    environment.add_test("subset", |left: Value, right: Value| every_in(&left, &right));
    environment.add_test("superset", |left: Value, right: Value| every_in(&right, &left));
    for name in ["changed", "failed", "skipped"] {
        environment.add_test(name, move |result: Value| result.get_attr(name).map(|value| value.is_true()));
    }
    for name in ["succeeded", "success"] {
        environment.add_test(name, |result: Value| result.get_attr("failed").map(|value| !value.is_true()));
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// What people mean by yes: unlike truth in templates, the words `no`, `off` and `false` are no.
fn truth(value: &Value) -> bool {
    match value.as_str() {
        Some(text) => matches!(text.trim().to_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t"),
        None => value.is_true(),
    }
}

fn dirname(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match trimmed.rfind('/') {
        Some(0) => "/",
        Some(at) => &trimmed[..at],
        None => "",
    }
}

fn splitext(path: &str) -> Value {
    let name_start = path.rfind('/').map_or(0, |at| at + 1);
    let at = path[name_start..].rfind('.').filter(|&at| at > 0).map_or(path.len(), |at| name_start + at);
    Value::from(vec![path[..at].to_owned(), path[at..].to_owned()])
}

fn ternary(value: Value, yes: Value, no: Value, none: Option<Value>) -> Value {
    match none {
        Some(none) if value.is_none() => none,
        _ if truth(&value) => yes,
        _ => no,
    }
}

fn flatten(value: Value, levels: Option<usize>, options: Kwargs) -> Filtered {
    let named = options.get::<Option<usize>>("levels")?;
    options.assert_all_used()?;
    flattened(value, levels.or(named))
}

fn flattened(value: Value, levels: Option<usize>) -> Filtered {
    let mut flat = Vec::new();
    for item in value.try_iter()? {
        if item.kind() == ValueKind::Seq && levels != Some(0) {
            flat.extend(flattened(item, levels.map(|levels| levels - 1))?.try_iter()?);
        } else {
            flat.push(item);
        }
    }
    Ok(Value::from(flat))
}

fn combine(first: Value, others: Rest<Value>, options: Kwargs) -> Filtered {
    let recursive = options.get::<Option<bool>>("recursive")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut tables = Vec::new();
    for other in std::iter::once(&first).chain(others.iter()) {
        if other.kind() == ValueKind::Seq {
            tables.extend(other.try_iter()?);
        } else {
            tables.push(other.clone());
        }
    }
    let mut result = Value::from_pairs(Vec::<(String, Value)>::new());
    for table in tables {
        result = merged(&result, &table, recursive)?;
    }
    Ok(result)
}

fn merged(left: &Value, right: &Value, recursive: bool) -> Filtered {
    if left.kind() != ValueKind::Map || right.kind() != ValueKind::Map {
        return Err(invalid("`combine` joins tables"));
    }
    let mut pairs = indexmap::IndexMap::new();
    for key in left.try_iter()? {
        pairs.insert(key.to_string(), left.get_item(&key)?);
    }
    for key in right.try_iter()? {
        let value = right.get_item(&key)?;
        let name = key.to_string();
        let value = match pairs.get(&name) {
            Some(old) if recursive && old.kind() == ValueKind::Map && value.kind() == ValueKind::Map => merged(old, &value, true)?,
            _ => value,
        };
        pairs.insert(name, value);
    }
    Ok(Value::from_pairs(pairs))
}

/// What the two halves of an entry are called: `key` and `value`, unless said otherwise.
fn entry_names(options: &Kwargs) -> Result<(String, String), Error> {
    let name = |option: &str, usual: &str| Ok::<_, Error>(options.get::<Option<String>>(option)?.unwrap_or_else(|| usual.to_owned()));
    let names = (name("key_name", "key")?, name("value_name", "value")?);
    options.assert_all_used()?;
    Ok(names)
}

fn dict2items(table: Value, options: Kwargs) -> Filtered {
    let (key_name, value_name) = entry_names(&options)?;
    let mut items = Vec::new();
    for key in table.try_iter()? {
        let value = table.get_item(&key)?;
        items.push(Value::from_pairs([(key_name.clone(), key), (value_name.clone(), value)]));
    }
    Ok(Value::from(items))
}

fn items2dict(items: Value, options: Kwargs) -> Filtered {
    let (key_name, value_name) = entry_names(&options)?;
    let mut pairs = Vec::new();
    for item in items.try_iter()? {
        pairs.push((item.get_attr(&key_name)?.to_string(), item.get_attr(&value_name)?));
    }
    Ok(Value::from_pairs(pairs))
}

enum Set {
    Union,
    Intersection,
    Difference,
    Symmetric,
}

fn sets(left: &Value, right: &Value, set: Set) -> Filtered {
    let left: Vec<Value> = left.try_iter()?.collect();
    let right: Vec<Value> = right.try_iter()?.collect();
    let chosen: Vec<&Value> = match set {
        Set::Union => left.iter().chain(&right).collect(),
        Set::Intersection => left.iter().filter(|item| right.contains(item)).collect(),
        Set::Difference => left.iter().filter(|item| !right.contains(item)).collect(),
        Set::Symmetric => left
            .iter()
            .filter(|item| !right.contains(item))
            .chain(right.iter().filter(|item| !left.contains(item)))
            .collect(),
    };
    let mut unique: Vec<Value> = Vec::new();
    for item in chosen {
        if !unique.contains(item) {
            unique.push(item.clone());
        }
    }
    Ok(Value::from(unique))
}

fn every_in(some: &Value, all: &Value) -> Result<bool, Error> {
    let all: Vec<Value> = all.try_iter()?.collect();
    Ok(some.try_iter()?.all(|item| all.contains(&item)))
}

fn regex(pattern: &str) -> Result<regex::Regex, Error> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| invalid(format!("`{pattern}` is no regular expression: {error}")))
}

/// `\1` and `\g<name>` of other languages, as `${1}` and `${name}`.
pub fn references(replacement: &str) -> String {
    let mut text = String::with_capacity(replacement.len());
    let mut rest = replacement.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '$' => text.push_str("$$"),
            '\\' => match rest.peek() {
                Some(digit) if digit.is_ascii_digit() => {
                    text.push_str("${");
                    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                        text.push(digit);
                    }
                    text.push('}');
                }
                Some('g') => {
                    rest.next();
                    let name: String = rest.by_ref().skip_while(|&letter| letter == '<').take_while(|&letter| letter != '>').collect();
                    text.push_str("${");
                    text.push_str(&name);
                    text.push('}');
                }
                Some('\\') => {
                    rest.next();
                    text.push('\\');
                }
                Some('n') => {
                    rest.next();
                    text.push('\n');
                }
                _ => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    text
}

fn regex_replace(text: Value, pattern: &str, replacement: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let text = text.to_string();
    let flag = |name: &str, letter: char| Ok::<_, Error>(if options.get::<Option<bool>>(name)?.unwrap_or(false) { Some(letter) } else { None });
    let flags: String = [flag("ignorecase", 'i')?, flag("multiline", 'm')?].into_iter().flatten().collect();
    let count = options.get::<Option<usize>>("count")?.unwrap_or(0);
    options.assert_all_used()?;
    let pattern = if flags.is_empty() { pattern.to_owned() } else { format!("(?{flags}){pattern}") };
    Ok(regex(&pattern)?.replacen(&text, count, references(replacement.unwrap_or(""))).into_owned())
}

fn regex_search(text: &str, pattern: &str, groups: Rest<Value>) -> Filtered {
    let Some(found) = regex(pattern)?.captures(text).map(|found| {
        let group = |wanted: &Value| {
            let name = wanted.to_string();
            let name = name.trim_start_matches("\\g").trim_matches(['<', '>', '\\']);
            let part = name.parse().map_or_else(|_| found.name(name), |number| found.get(number));
            part.map_or_else(|| Value::from(()), |part| Value::from(part.as_str()))
        };
        let whole = found.get(0).map_or("", |whole| whole.as_str());
        if groups.is_empty() { Value::from(whole) } else { groups.iter().map(group).collect() }
    }) else {
        return Ok(Value::from(()));
    };
    Ok(found)
}

fn regex_findall(text: &str, pattern: &str) -> Filtered {
    let regex = regex(pattern)?;
    let pick = |found: regex::Captures<'_>| match found.len() {
        1 => Value::from(&found[0]),
        2 => Value::from(found.get(1).map_or("", |part| part.as_str())),
        _ => found.iter().skip(1).map(|part| Value::from(part.map_or("", |part| part.as_str()))).collect(),
    };
    Ok(regex.captures_iter(text).map(pick).collect())
}

fn from_json(text: &str) -> Filtered {
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|error| invalid(format!("this is no JSON: {error}")))?;
    Ok(super::from_json(&parsed))
}

fn to_json(value: &Value, nice: bool) -> Result<String, Error> {
    let text = if nice { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map_err(|error| invalid(error.to_string()))
}

fn from_yaml(text: &str) -> Filtered {
    let parsed: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| invalid(format!("this is no YAML: {error}")))?;
    Ok(super::from_json(&parsed))
}

fn to_yaml(value: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| invalid(error.to_string()))
}

fn json_query(value: Value, query: &str) -> Filtered {
    let query = jmespath::compile(query).map_err(|error| invalid(format!("this is no JMESPath query: {error}")))?;
    let json = serde_json::to_string(&value).map_err(|error| invalid(error.to_string()))?;
    let data = jmespath::Variable::from_json(&json).map_err(invalid)?;
    let found = query.search(data).map_err(|error| invalid(error.to_string()))?;
    from_json(&found.to_string())
}

fn b64encode(value: Value) -> String {
    use base64::Engine as _;
    let text = value.to_string();
    let bytes = value.as_bytes().unwrap_or(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn b64decode(text: &str) -> Result<String, Error> {
    use base64::Engine as _;
    let compact: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(compact)
        .map_err(|error| invalid(format!("this is no base64: {error}")))?;
    String::from_utf8(bytes).map_err(|_| invalid("what it decodes to is not UTF-8"))
}

fn hash(value: Value, kind: Option<&str>) -> Result<String, Error> {
    use sha2::Digest as _;
    let text = value.to_string();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match kind.unwrap_or("sha256") {
        "sha1" => Ok(hex(&sha1::Sha1::digest(&text))),
        "sha256" => Ok(hex(&sha2::Sha256::digest(&text))),
        "sha512" => Ok(hex(&sha2::Sha512::digest(&text))),
        other => Err(invalid(format!("`{other}` is not one of sha1, sha256, sha512"))),
    }
}

/// A choice that stays the same for the same seed: a playbook that changes something at each run never converges.
fn random(value: Value, options: Kwargs) -> Filtered {
    use sha2::Digest as _;
    let Some(seed) = options.get::<Option<Value>>("seed")? else {
        return Err(invalid("`random` needs a seed, such as `random(seed=host.name)`, or the host would change at every run"));
    };
    let digest = sha2::Sha256::digest(seed.to_string());
    let number = digest.iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
    if let Some(limit) = value.as_i64().and_then(|limit| u64::try_from(limit).ok()) {
        return Ok(Value::from(number % limit.max(1)));
    }
    let items: Vec<Value> = value.try_iter()?.collect();
    let count = u64::try_from(items.len().max(1)).unwrap_or(1);
    let at = usize::try_from(number % count).unwrap_or(0);
    items.into_iter().nth(at).ok_or_else(|| invalid("there is nothing to choose from"))
}

/// `address`, `prefix`, `network` or `netmask` of an address; without a query, the address if it is one, else false.
fn ipaddr(value: Value, query: Option<&str>) -> Filtered {
    if value.kind() == ValueKind::Seq {
        // Of a list, what is left are the addresses.
        let found: Result<Vec<Value>, Error> = value.try_iter()?.map(|item| ipaddr(item, query)).collect();
        return Ok(found?.into_iter().filter(Value::is_true).collect());
    }
    let text = value.to_string();
    let (address, prefix) = text.split_once('/').unwrap_or((&text, ""));
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return Ok(Value::from(false)) };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix: u32 = if prefix.is_empty() { bits } else { prefix.parse().unwrap_or(bits + 1) };
    if prefix > bits {
        return Ok(Value::from(false));
    }
    let number = match address {
        std::net::IpAddr::V4(four) => u128::from(u32::from(four)) << 96,
        std::net::IpAddr::V6(six) => u128::from(six),
    };
    let mask = if prefix == 0 { 0 } else { u128::MAX << (128 - prefix) };
    let shown = |number: u128| match address {
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::from(u32::try_from(number >> 96).unwrap_or(0)).to_string(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::from(number).to_string(),
    };
    match query {
        None | Some("") => Ok(Value::from(text.clone())),
        Some("address") => Ok(Value::from(address.to_string())),
        Some("prefix") => Ok(Value::from(prefix)),
        Some("network") => Ok(Value::from(shown(number & mask))),
        Some("netmask") => Ok(Value::from(shown(mask))),
        Some("ipv4") => Ok(if address.is_ipv4() { Value::from(text.clone()) } else { Value::from(false) }),
        Some("ipv6") => Ok(if address.is_ipv6() { Value::from(text.clone()) } else { Value::from(false) }),
        Some(other) => Err(invalid(format!("`ipaddr` knows address, prefix, network, netmask, ipv4 and ipv6, not `{other}`"))),
    }
}

/// `x is version('1.2', '>=')`: numbers compare as numbers, the rest as text.
fn version(found: Value, wanted: Value, operator: Option<&str>) -> Result<bool, Error> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = compare_versions(&found.to_string(), &wanted.to_string());
    Ok(match operator.unwrap_or("==") {
        "==" | "=" | "eq" => order == Equal,
        "!=" | "<>" | "ne" => order != Equal,
        "<" | "lt" => order == Less,
        "<=" | "le" => order != Greater,
        ">" | "gt" => order == Greater,
        ">=" | "ge" => order != Less,
        other => return Err(invalid(format!("`{other}` is no comparison of versions; use one of == != < <= > >="))),
    })
}

fn compare_versions(left: &str, right: &str) -> std::cmp::Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        text.split(['.', '-', '+', '~', '_', ':'])
            .map(|part| {
                let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
                (part[..end].parse().unwrap_or(0), part[end..].to_owned())
            })
            .collect()
    };
    let (mut left, mut right) = (parts(left), parts(right));
    let length = left.len().max(right.len());
    left.resize(length, (0, String::new()));
    right.resize(length, (0, String::new()));
    left.cmp(&right)
}

#[cfg(test)]
mod tests {
    use super::super::{Filled, Layer, Scope};
    use std::sync::Arc;

    fn check(expression: &str) -> String {
        let scope = Scope::new(vec![Arc::new(Layer::default())]);
        match scope.eval(expression) {
            Ok(Filled::Now(value)) => value.to_string(),
            Ok(Filled::Later(_)) => "later".into(),
            Err(trouble) => format!("error: {}", trouble.message),
        }
    }

    #[test]
    fn the_filters_that_playbooks_use() {
        for (expression, expected) in [
            ("'no' | bool", "False"),
            ("'Yes' | bool", "True"),
            ("'/etc/nginx/site.conf' | basename", "site.conf"),
            ("'/etc/nginx/site.conf' | dirname", "/etc/nginx"),
            ("true | ternary('a', 'b')", "a"),
            ("\"it's\" | quote", r"'it'\''s'"),
            ("[1, [2, [3]]] | flatten | join(',')", "1,2,3"),
            ("[1, [2, [3]]] | flatten(1) | length", "3"),
            ("[1, [2, [3]]] | flatten(levels=1) | length", "3"),
            ("({'a': 1} | combine({'b': 2})).b", "2"),
            ("([{'a': 1}, {'b': 2}] | combine).b", "2"),
            ("({'a': 1} | dict2items(key_name='name', value_name='port'))[0].port", "1"),
            ("'aAa' | regex_replace('a', 'b', ignorecase=true, count=2)", "bba"),
            ("['10.0.0.1', 'x'] | ipaddr | join(',')", "10.0.0.1"),
            ("'a b'.split() | join(',') ~ {'k': 1}.get('k')", "a,b1"),
            ("'Abc'.upper() ~ ('%s-%d' | format('x', 3))", "ABCx-3"),
            ("({'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true)).a | length", "2"),
            ("({'a': 1} | dict2items)[0].key", "a"),
            ("([{'key': 'a', 'value': 1}] | items2dict).a", "1"),
            ("[1, 2] | union([2, 3]) | join(',')", "1,2,3"),
            ("[1, 2] | difference([2]) | join(',')", "1"),
            ("[1, 2] | intersect([2, 3]) | join(',')", "2"),
            (r"'a-b' | regex_replace('(\w)-(\w)', '\\2-\\1')", "b-a"),
            (r"'v1.2' | regex_search('[0-9.]+')", "1.2"),
            ("('{\"a\": [1]}' | from_json).a[0]", "1"),
            ("{'a': 1} | to_json", "{\"a\":1}"),
            ("('a: [1, 2]' | from_yaml).a[1]", "2"),
            ("{'a': [{'b': 1}, {'b': 2}]} | json_query('a[*].b') | join(',')", "1,2"),
            ("'hi' | b64encode", "aGk="),
            ("'aGk=' | b64decode", "hi"),
            ("'10.1.2.3/24' | ipaddr('network')", "10.1.2.0"),
            ("'1.10' is version('1.9', '>')", "True"),
            ("'abc' is match('b')", "False"),
            ("'abc' is search('b')", "True"),
            ("['a', 'b'] | map('upper') | join", "AB"),
            ("[{'n': 1}, {'n': 2}] | selectattr('n', '==', 2) | map(attribute='n') | first", "2"),
            ("10 | random(seed='x')", "6"),
        ] {
            assert_eq!(check(expression), expected, "{expression}");
        }
    }

    #[test]
    fn chance_without_a_seed_is_refused() {
        assert!(check("10 | random").contains("needs a seed"));
    }
}
