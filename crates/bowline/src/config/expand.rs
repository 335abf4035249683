//! `${NAME}` in a text is replaced by a variable, so that secrets need not lie in the file. Pure.

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error("the variable {name} is not set")]
    NotSet { name: String },
    #[error("`${{` without `}}` after a name of A-Z, a-z, 0-9 and _")]
    NotClosed,
}

/// Replaces every `${NAME}`; `$$` before `{` stands for one `$`. What a variable holds is not looked at again.
pub(super) fn expand(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, ExpandError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = &after[2..];
            continue;
        }
        expanded.push_str(before);
        let (name, behind) = after[2..].split_once('}').ok_or(ExpandError::NotClosed)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(ExpandError::NotClosed);
        }
        let value = variable(name).ok_or_else(|| ExpandError::NotSet { name: name.to_owned() })?;
        expanded.push_str(&value);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> Option<String> {
        (name == "PASSWORD").then(|| "s${cret".to_owned())
    }

    #[test]
    fn variables_are_replaced_and_nothing_else() {
        let text = |text| expand(text, &known);
        assert_eq!(text("postgres://me:${PASSWORD}@h").as_deref(), Ok("postgres://me:s${cret@h"));
        assert_eq!(text("$HOME $ {x} }").as_deref(), Ok("$HOME $ {x} }"));
        assert_eq!(text("a$${PASSWORD}").as_deref(), Ok("a${PASSWORD}"));
        assert_eq!(text("${OTHER}"), Err(ExpandError::NotSet { name: "OTHER".to_owned() }));
        assert_eq!(text("${PASS"), Err(ExpandError::NotClosed));
        assert_eq!(text("${}"), Err(ExpandError::NotClosed));
    }

    proptest::proptest! {
        #[test]
        fn a_text_without_variables_stays(text in "[^$]*") {
            proptest::prop_assert_eq!(expand(&text, &known), Ok(text));
        }
    }
}
