//! Names in their several spellings: snake, camel, plural.
//!
//! English is guessed with few rules; what the protos say about plurals always goes first.

/// `SecretVersion` and `secretVersion` to `secret_version`; an acronym counts as one word (`SQLInstance`, `sql_instance`).
pub fn snake(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut snake = String::with_capacity(text.len() + 4);
    for (at, &c) in chars.iter().enumerate() {
        if c == '-' || c == ' ' {
            snake.push('_');
            continue;
        }
        let after_lower =
            at > 0 && (chars[at - 1].is_lowercase() || chars[at - 1].is_ascii_digit());
        let ends_acronym = at > 0
            && chars[at - 1].is_uppercase()
            && chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && (after_lower || ends_acronym) {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// `secret_version`, `secret-version` and `secretVersion` to `SecretVersion`.
pub fn upper_camel(text: &str) -> String {
    let mut camel = String::with_capacity(text.len());
    let mut upper = true;
    for c in text.chars() {
        if matches!(c, '_' | '-' | ' ' | '.') {
            upper = true;
        } else if upper {
            camel.extend(c.to_uppercase());
            upper = false;
        } else {
            camel.push(c);
        }
    }
    camel
}

/// `SecretVersion` to `secretVersion`.
pub fn lower_camel(text: &str) -> String {
    let camel = upper_camel(text);
    let mut chars = camel.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// A plural by the common rules: `Policy`, `Policies`; `Box`, `Boxes`; `Device`, `Devices`; `Settings` stays.
pub fn plural(singular: &str) -> String {
    let lower = singular.to_lowercase();
    let before_last = lower.chars().rev().nth(1);
    let vowel = before_last.is_some_and(|c| "aeiou".contains(c));
    if lower.ends_with('y') && !vowel {
        return format!("{}ies", &singular[..singular.len() - 1]);
    }
    let hissing = ["s", "x", "z", "ch", "sh"].iter().any(|end| lower.ends_with(end));
    if ["settings", "series", "metadata", "data"].iter().any(|word| lower.ends_with(word)) {
        singular.to_owned()
    } else if hissing {
        format!("{singular}es")
    } else {
        format!("{singular}s")
    }
}

/// Whether two names are the same but for case and `_`.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        assert_eq!(snake("SecretVersion"), "secret_version");
        assert_eq!(snake("SQLInstance"), "sql_instance");
        assert_eq!(snake("Ipv6Range"), "ipv6_range");
        assert_eq!(upper_camel("secret_version"), "SecretVersion");
        assert_eq!(lower_camel("SecretVersion"), "secretVersion");
        assert_eq!(lower_camel(""), "");
        assert!(same("crypto_key", "CryptoKey"));
    }

    #[test]
    fn plurals() {
        for (one, many) in [
            ("Device", "Devices"),
            ("Policy", "Policies"),
            ("Key", "Keys"),
            ("Box", "Boxes"),
            ("Batch", "Batches"),
            ("Settings", "Settings"),
            ("Address", "Addresses"),
            ("", "s"),
        ] {
            assert_eq!(plural(one), many);
        }
    }
}
