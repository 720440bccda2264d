//! The command `agentguard`: arguments in, one error message and its exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    match agentguard::cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("agentguard: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
