//! Whatever is loaded, nothing panics.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn loading_any_text_never_panics(text in "(syntax|package|message|import|option|rpc|[ a-z{}\\[\\]();=\"./<>*]|\n){0,60}") {
        load(&[files(None, &[("a.proto", &text)])]);
        load(&[files(Some(&text), &[("a.proto", &text)])]);
    }

    #[test]
    fn loading_a_damaged_proto_never_panics(at in 0..DEVICE.len(), length in 0usize..40, with in "[ a-z{};=\"]{0,10}") {
        let end = (at + length).min(DEVICE.len());
        let mut text = DEVICE.as_bytes().to_vec();
        text.splice(at..end, with.bytes());
        let text = String::from_utf8_lossy(&text).into_owned();
        load(&[files(Some(MANIFEST), &[("device.proto", &text)])]);
    }

    #[test]
    fn loading_a_damaged_descriptor_set_never_panics(at in 0usize..100_000, byte: u8) {
        let mut bytes = descriptor_set().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        load(&[Source::DescriptorBytes { name: "set".into(), bytes }]);
    }
}

fn descriptor_set() -> &'static [u8] {
    static SET: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    SET.get_or_init(|| {
        export::descriptor_set(&load(&[files(None, &[("device.proto", DEVICE)])]).registry)
    })
}
