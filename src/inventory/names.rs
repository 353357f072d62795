//! Ranges of names: `web[01-20].example.com` stands for twenty hosts, and twenty hosts are shown so again.

use std::collections::BTreeMap;

/// The names that a range stands for; a plain name stands for itself.
///
/// # Errors
/// What is wrong with the range.
pub fn expanded(text: &str) -> Result<Vec<String>, String> {
    let Some(open) = text.find('[') else { return Ok(vec![text.to_owned()]) };
    let close = text[open..].find(']').map(|at| open + at).ok_or("the `[` is never closed")?;
    let tails = expanded(&text[close + 1..])?;
    let mut names = Vec::new();
    for part in text[open + 1..close].split(',') {
        for middle in numbers(part.trim())? {
            for tail in &tails {
                if names.len() >= super::HOST_LIMIT {
                    return Err(format!("it stands for more than {} hosts", super::HOST_LIMIT));
                }
                names.push(format!("{}{middle}{tail}", &text[..open]));
            }
        }
    }
    Ok(names)
}

fn numbers(part: &str) -> Result<Vec<String>, String> {
    let Some((first, last)) = part.split_once(['-', ':']) else {
        let good = !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric());
        return if good { Ok(vec![part.to_owned()]) } else { Err(format!("`{part}` is no number in a range")) };
    };
    if let (Some(from), Some(to), 1, 1) = (letter(first), letter(last), first.len(), last.len()) {
        if from > to {
            return Err(format!("the range `{part}` runs backwards"));
        }
        return Ok((from..=to).map(String::from).collect());
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("`{text}` is no number in a range"));
    let (from, to) = (number(first)?, number(last)?);
    if from > to {
        return Err(format!("the range `{part}` runs backwards"));
    }
    if to - from >= u32::try_from(super::HOST_LIMIT).unwrap_or(u32::MAX) {
        return Err(format!("it stands for more than {} hosts", super::HOST_LIMIT));
    }
    let width = if first.starts_with('0') { first.len() } else { 1 };
    Ok((from..=to).map(|number| format!("{number:0width$}")).collect())
}

fn letter(text: &str) -> Option<char> {
    text.chars().next().filter(char::is_ascii_alphabetic)
}

/// Many names in few words: `web[01-18,20], db1`. The order of first appearance is kept.
pub fn folded<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    struct Family {
        width: usize,
        numbers: Vec<u64>,
    }
    let mut order: Vec<(String, String, usize)> = Vec::new();
    let mut families: BTreeMap<(String, String, usize), Family> = BTreeMap::new();
    for name in names {
        let end = name.rfind(|letter: char| letter.is_ascii_digit()).map(|at| at + 1);
        // The last number before the first dot counts: `web01.example.com`, not an address's last part.
        let head_end = name.find('.').unwrap_or(name.len());
        let end = name[..head_end].rfind(|letter: char| letter.is_ascii_digit()).map(|at| at + 1).or(end.filter(|&end| end <= head_end));
        let (key, number) = match end {
            Some(end) => {
                let start = name[..end].rfind(|letter: char| !letter.is_ascii_digit()).map_or(0, |at| at + 1);
                let digits = &name[start..end];
                let width = if digits.starts_with('0') && digits.len() > 1 { digits.len() } else { 0 };
                match digits.parse::<u64>() {
                    Ok(number) if start > 0 => ((name[..start].to_owned(), name[end..].to_owned(), width), Some(number)),
                    _ => ((name.to_owned(), String::new(), 0), None),
                }
            }
            None => ((name.to_owned(), String::new(), 0), None),
        };
        // `web10` belongs to `web[08-10]`: it has the width of the padded ones.
        let padded = number.map(|number| (key.0.clone(), key.1.clone(), number.to_string().len()));
        let key = match padded {
            Some(padded) if key.2 == 0 && families.contains_key(&padded) => padded,
            _ => key,
        };
        if !families.contains_key(&key) {
            order.push(key.clone());
        }
        let family = families.entry(key.clone()).or_insert(Family { width: key.2, numbers: Vec::new() });
        family.numbers.extend(number);
    }
    let mut parts = Vec::new();
    for key in order {
        let Some(family) = families.get_mut(&key) else { continue };
        family.numbers.sort_unstable();
        family.numbers.dedup();
        let width = family.width;
        parts.push(match family.numbers.as_slice() {
            [] => key.0,
            [one] => format!("{}{one:0width$}{}", key.0, key.1),
            numbers => format!("{}[{}]{}", key.0, runs(numbers, width), key.1),
        });
    }
    parts.join(", ")
}

fn runs(numbers: &[u64], width: usize) -> String {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < numbers.len() {
        let mut end = at;
        while end + 1 < numbers.len() && numbers[end + 1] == numbers[end] + 1 {
            end += 1;
        }
        let (first, last) = (numbers[at], numbers[end]);
        parts.push(if at == end { format!("{first:0width$}") } else { format!("{first:0width$}-{last:0width$}") });
        at = end + 1;
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stands_for_its_names() {
        assert_eq!(expanded("web[01-03].x").as_deref(), Ok(["web01.x", "web02.x", "web03.x"].map(String::from).as_slice()));
        assert_eq!(expanded("r[a-b][1,3]").as_deref(), Ok(["ra1", "ra3", "rb1", "rb3"].map(String::from).as_slice()));
        assert_eq!(expanded("web[9-10]").map(|names| names.join(" ")), Ok("web9 web10".into()));
        assert!(expanded("web[3-1]").is_err() && expanded("web[1").is_err() && expanded("web[1-999999]").is_err());
    }

    #[test]
    fn many_names_are_shown_in_few_words() {
        let check = |names: &str| folded(names.split(' '));
        assert_eq!(check("web01 web02 web03 web05 db1"), "web[01-03,05], db1");
        assert_eq!(check("web9 web10 web11"), "web[9-11]");
        assert_eq!(check("web08 web09 web10"), "web[08-10]");
        assert_eq!(check("web1.example.com web2.example.com"), "web[1-2].example.com");
        assert_eq!(check("10.0.0.1 alpha"), "10.0.0.1, alpha");
    }
}
