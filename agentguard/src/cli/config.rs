//! `config`: the daemon's configuration file, checked and described.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::config::{DEFAULT_PATH, Settings};
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say what is wrong with the file, or that nothing is
    Check {
        /// The file
        #[arg(default_value = DEFAULT_PATH)]
        file: PathBuf,
    },
    /// Print the JSON Schema of the file
    Schema,
}

pub(super) fn config(command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Check { file } => {
            Settings::load(Some(file))?;
            println!("{}: nothing is wrong", file.display());
        }
        ConfigCommand::Schema => println!("{:#}", Settings::schema()),
    }
    Ok(ExitCode::SUCCESS)
}
