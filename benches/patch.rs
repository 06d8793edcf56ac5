//! What a PATCH and a projection cost without any IO.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use realmgate::scim::{
    list::Projection,
    patch::{self, Operation},
    resource::{Admission, Resource, admit},
    schema::ResourceType,
};
use serde_json::{Value, json};

fn user(emails: usize) -> Resource {
    let email = |at: usize| json!({ "value": format!("{at}@example.com"), "type": "work" });
    let user = json!({
        "userName": "bjensen",
        "name": { "givenName": "Barbara", "familyName": "Jensen" },
        "emails": (0..emails).map(email).collect::<Vec<_>>(),
    });
    admit(ResourceType::user(), user, &Admission::default()).expect("a valid user").resource
}

fn operations(operations: &Value) -> Vec<Operation> {
    patch::parse(json!({ "Operations": operations }), &Admission::default()).expect("a valid request")
}

fn patches(c: &mut Criterion) {
    let apply = |resource_type: &ResourceType, before: &Resource, operations: &[Operation]| {
        patch::apply(resource_type, before, operations, &Admission::default()).expect("it applies")
    };
    let one = user(1);
    let deactivate = operations(&json!([{ "op": "Replace", "path": "active", "value": "False" }]));
    c.bench_function("patch/deactivate", |b| {
        b.iter(|| apply(ResourceType::user(), black_box(&one), &deactivate));
    });

    let full = user(1_000);
    let add = |at: usize| json!({ "op": "add", "path": "emails", "value": [{ "value": format!("{at}@example.com"), "type": "work" }] });
    let adds = operations(&json!((0..1_000).map(add).collect::<Vec<_>>()));
    c.bench_function("patch/1000 adds to 1000 values", |b| {
        b.iter(|| apply(ResourceType::user(), black_box(&full), &adds));
    });

    let select = |at: usize| json!({ "op": "replace", "path": format!("emails[value eq \"{at}@example.com\"].display"), "value": "x" });
    let selects = operations(&json!((0..1_000).map(select).collect::<Vec<_>>()));
    c.bench_function("patch/1000 filters on 1000 values", |b| {
        b.iter(|| apply(ResourceType::user(), black_box(&full), &selects));
    });

    let group =
        admit(ResourceType::group(), json!({ "displayName": "g" }), &Admission::default()).expect("a valid group");
    let members: Vec<_> = (0..10_000).map(|at| json!({ "value": at.to_string() })).collect();
    let members = operations(&json!([{ "op": "add", "path": "members", "value": members }]));
    c.bench_function("patch/10000 members", |b| {
        b.iter(|| apply(ResourceType::group(), black_box(&group.resource), &members));
    });
}

fn projections(c: &mut Criterion) {
    let Resource(user) = user(2);
    let projection = Projection::parse(Some("userName,emails.value"), None).expect("valid names");
    c.bench_function("list/project", |b| {
        b.iter_batched(
            || user.clone(),
            |mut user| {
                projection.apply(ResourceType::user(), &mut user);
                user
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, patches, projections);
criterion_main!(benches);
