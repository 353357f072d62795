//! The program: turns what [`mutate::cli::main`] answers into an exit code.

fn main() -> std::process::ExitCode {
    mutate::cli::main()
}
