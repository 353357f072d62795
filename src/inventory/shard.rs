//! One part of several: which hosts each of the processes works on that share one run.

use std::str::FromStr;

use sha2::Digest as _;

/// More parts than hosts that one inventory may have would be of no use; and each needs numbers of its own on hosts that
/// tasks are delegated to.
const MOST: u32 = 10_000;

/// Part `number` of `of`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub number: u32,
    pub of: u32,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether a host belongs to this part. Its name alone decides, so whatever else the inventory holds, each host is in
    /// exactly one part, and always in the same one of so many.
    pub fn owns(self, host: &str) -> bool {
        let hash = sha2::Sha256::digest(host.as_bytes());
        let start = hash.iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        start % u64::from(self.of.max(1)) == u64::from(self.number.saturating_sub(1))
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some((part, of)) = text.split_once('/').and_then(|(part, of)| Some((number(part)?, number(of)?))) else {
            return Err("write `2/4` for the second part of four".into());
        };
        if of == 0 || of > MOST {
            return Err(format!("there can be 1 to {MOST} parts"));
        }
        if part == 0 {
            return Err(format!("parts are counted from 1 to {of}; where a scheduler counts from 0, add 1: `--shard $((JOB_COMPLETION_INDEX + 1))/{of}`"));
        }
        if part > of {
            return Err(format!("there is no part {part} of {of}; parts are counted from 1"));
        }
        Ok(Self { number: part, of })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(of: u32) -> impl Iterator<Item = Shard> {
        (1..=of).map(move |number| Shard { number, of })
    }

    proptest! {
        #[test]
        fn every_host_is_in_exactly_one_part(host in "[a-z0-9.-]{1,40}|\\PC{1,20}", of in 1_u32..200) {
            prop_assert_eq!(parts(of).filter(|part| part.owns(&host)).count(), 1);
        }

        #[test]
        fn what_is_written_is_read(of in 1_u32..=MOST, chance in any::<u32>()) {
            let shard = Shard { number: chance % of + 1, of };
            prop_assert_eq!(shard.to_string().parse(), Ok(shard));
        }

        #[test]
        fn parts_are_about_even(of in 1_u32..40, first in 0_u32..1_000_000) {
            // 200 hosts for each part, with names as people give them; further than six standard deviations is no chance.
            let names: Vec<String> = (first..first + of * 200).map(|number| format!("web{number:04}.example.com")).collect();
            for part in parts(of) {
                let count = names.iter().filter(|name| part.owns(name)).count();
                prop_assert!((115..=285).contains(&count) || of == 1, "{part}: {count}");
            }
        }
    }

    /// A part stays what it is from one version to the next: shards of one run may be of several.
    #[test]
    fn parts_never_move() {
        let owners = ["web01", "web02", "db1.example.com", "café"].map(|host| parts(4).find(|part| part.owns(host)).map(|part| part.number));
        assert_eq!(owners, [Some(1), Some(1), Some(4), Some(2)]);
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, reason) in [
            ("", "write"),
            ("1", "write"),
            ("a/b", "write"),
            ("+1/4", "write"),
            ("1/-4", "write"),
            ("1/0", "1 to"),
            ("1/10001", "1 to"),
            ("0/4", "add 1"),
            ("5/4", "no part 5"),
            ("99999999999/4", "write"),
        ] {
            let told = text.parse::<Shard>().expect_err(text);
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
