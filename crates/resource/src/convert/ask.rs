//! Questions to the context during one conversion: each asked once, each answer noted.

use bowline_schema::upgrade::ContextValue;

use super::{Context, ConvertError, Named, Used};

/// The context and what it said so far.
pub(super) struct Asking<'a> {
    context: &'a dyn Context,
    used: Vec<Used>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(context: &'a dyn Context) -> Self {
        Asking { context, used: Vec::new() }
    }

    /// All answers, in the order of the questions.
    pub(super) fn used(&self) -> Vec<Used> {
        self.used.clone()
    }

    pub(super) fn ask(
        &mut self,
        value: ContextValue,
        of: Named<'_>,
    ) -> Result<String, ConvertError> {
        let is_it = |used: &&Used| {
            (used.value, used.version.as_str(), used.kind.as_str(), used.name.as_str())
                == (value, of.version, of.kind, of.name)
        };
        if let Some(known) = self.used.iter().find(is_it) {
            return Ok(known.is.clone());
        }
        let ContextValue::ControlRegion = value;
        let Named { version, kind, name } = of;
        let (version, kind, name) = (version.to_owned(), kind.to_owned(), name.to_owned());
        // An empty answer is none: there is no region without a name.
        match self.context.control_region(&of).filter(|region| !region.is_empty()) {
            #[cfg(test)]
            Some(is) if super::planted::is(super::planted::Mistake::Untold) => Ok(is),
            Some(is) => {
                self.used.push(Used { value, version, kind, name, is: is.clone() });
                Ok(is)
            }
            None => Err(ConvertError::Unanswered { kind, version, name }),
        }
    }
}
