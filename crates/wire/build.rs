//! Makes Rust types of the protos that this workspace defines, with a compiler that is part of the build.

use std::path::{Path, PathBuf};

/// Packages whose Rust types are used; of what they import, only descriptors are needed.
const PACKAGES: [&str; 3] = ["goten.types", "goten.meta.v1", "bowline.mixin.v1"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(protos(&root)?)?;
    prost_build::Config::new().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// The files of the packages, by folder: a package's folder is its name.
fn protos(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for package in PACKAGES {
        for entry in std::fs::read_dir(root.join(package.replace('.', "/")))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "proto") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
