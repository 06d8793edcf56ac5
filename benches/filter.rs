//! How long it takes to read a filter: the one each IdP sends before it creates a user, and the largest allowed.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use realmgate::scim::filter::{Lookup, check, parse};
use realmgate::scim::lenient::Dialect;
use realmgate::scim::schema::ResourceType;

fn filters(c: &mut Criterion) {
    let longest = vec![r#"emails[type eq "work" and value ew "x"]"#; 50].join(" or ");
    for (name, text) in [
        ("userName eq", r#"userName eq "bjensen@example.com""#),
        ("brackets", r#"emails[type eq "work" and value co "@example.com"] and not (active eq false)"#),
        ("100 comparisons", &longest),
    ] {
        c.bench_function(&format!("parse {name}"), |b| {
            b.iter(|| parse(black_box(text), Dialect::Lenient).expect("a good filter"));
        });
        let filter = parse(text, Dialect::Lenient).expect("a good filter");
        let lookup = Lookup::Resource(ResourceType::user());
        c.bench_function(&format!("check {name}"), |b| b.iter(|| check(black_box(&filter), lookup, Dialect::Lenient)));
    }
}

criterion_group!(benches, filters);
criterion_main!(benches);
