//! Programs which were written for Keycloak work unmodified: python-keycloak, and Keycloak's own admin client of npm.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    process::{python, unique},
    world::{ADMIN, World},
};

/// Realms which an operator of many customers has.
const REALMS: i32 = 10_000;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// The folder with the packages of `tests/clients/package.json`.
fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm");
    assert!(folder.join("node_modules").is_dir(), "no packages of npm in {}: see tests/run", folder.display());
    folder
}

async fn output_of(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("it does not panic")
}

#[track_caller]
fn assert_passed(output: &Output) {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("all calls passed"), "{said}{errors}");
    println!("{said}");
}

#[tokio::test]
async fn python_keycloak_works_unmodified_on_thousands_of_realms() {
    const LIFE: u8 = 5;
    let world = World::with(&[("REALMGATE_ADMIN_ACCESS_TOKEN_LIFE", &format!("{LIFE}s"))]);
    let seed = format!(
        "INSERT INTO realms (id, name, enabled, scim_enabled, epoch, policy, created_at, updated_at)
         SELECT gen_random_uuid(), 'customer-' || n, true, true, 1, '{{}}', now(), now() FROM generate_series(1, {REALMS}) n;
         INSERT INTO roles (realm_id, id, name, created_at)
         SELECT id, gen_random_uuid(), 'scim-managed', now() FROM realms WHERE name LIKE 'customer-%'"
    );
    world.superuser().await.batch_execute(&seed).await.expect("the rows are sound");
    let mut program = Command::new(python("keycloak"));
    program.arg(script("acceptance.py")).arg(format!("http://{}/", world.address()));
    program.args([ADMIN.0, ADMIN.1, &LIFE.to_string()]);
    assert_passed(&output_of(program).await);
}

#[tokio::test]
async fn keycloaks_own_client_works_unmodified() {
    let mut program = Command::new("node");
    program.arg(script("acceptance.mjs")).arg(packages()).arg(format!("http://{}", World::shared().address()));
    program.args([ADMIN.0, ADMIN.1, &format!("npm-{}", unique())]);
    assert_passed(&output_of(program).await);
}
