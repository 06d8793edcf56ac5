pub fn token_cache(_r: &str) {}
