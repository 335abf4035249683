//! Makes Rust types of the protos that this workspace defines, with a compiler that is part of the build.

use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Packages whose Rust types are used; of what they import, only descriptors are needed.
const PACKAGES: [&str; 5] = ["goten.types", "goten.meta.v1", MIXIN, SERVER, "bowline.graph.v1"];
const MIXIN: &str = "bowline.mixin.v1";
const SERVER: &str = "bowline.server.v1";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(protos(&root, &PACKAGES)?)?;
    let all = compiler.file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mixin.bin"), mixin(&all).encode_to_vec())?;
    std::fs::write(out.join("server.bin"), server(&root)?)?;
    prost_build::Config::new().compile_fds(all)?;
    Ok(())
}

/// The files of the mixin, which import no others, without comments: servers find its methods by their descriptors.
fn mixin(all: &FileDescriptorSet) -> FileDescriptorSet {
    let files = all.file.iter().filter(|file| file.package() == MIXIN);
    let bare =
        |file: &FileDescriptorProto| FileDescriptorProto { source_code_info: None, ..file.clone() };
    FileDescriptorSet { file: files.map(bare).collect() }
}

/// The files of what every server has, with all that they import and their options: clients read them by reflection.
fn server(root: &Path) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut compiler = protox::Compiler::new([root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(protos(root, &[SERVER])?)?;
    Ok(compiler.encode_file_descriptor_set())
}

/// The files of the packages, by folder: a package's folder is its name.
fn protos(root: &Path, packages: &[&str]) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for package in packages {
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
