//! What is made from the command line's own description: completions, manual
//! pages, and the table of exit codes.

use std::path::Path;
use std::process::ExitCode;

use crate::error::{EXIT_CODES, Error, Result};

pub(super) fn exit_codes() -> ExitCode {
    for (code, meaning) in EXIT_CODES {
        println!("{code:>4}  {meaning}");
    }
    ExitCode::SUCCESS
}

pub(super) fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut command = super::command();
    clap_complete::generate(shell, &mut command, "agentguard", &mut std::io::stdout());
    ExitCode::SUCCESS
}

pub(super) fn pages(directory: &Path) -> Result<ExitCode> {
    std::fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    clap_mangen::generate_to(super::command(), directory)
        .map_err(Error::io("write manual pages to", directory))?;
    Ok(ExitCode::SUCCESS)
}
