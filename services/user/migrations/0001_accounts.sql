-- Accounts, the refresh tokens of their sessions, and recent attempts to sign in.

CREATE TABLE accounts (
    id text PRIMARY KEY,
    username text NOT NULL UNIQUE,
    -- Argon2id, in its self-describing form.
    password_hash text NOT NULL,
    roles text[] NOT NULL,
    create_time timestamptz NOT NULL
);

-- A token that was used stays until it expires, so that its second use is noticed.
CREATE TABLE refresh_tokens (
    sha256 bytea PRIMARY KEY,
    -- All tokens that descend from one sign-in.
    family text NOT NULL,
    account_id text NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    expire_time timestamptz NOT NULL,
    use_time timestamptz
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expire_time);
CREATE INDEX refresh_tokens_by_account ON refresh_tokens (account_id);

CREATE TABLE sign_in_attempts (
    -- The SHA-256 of the name that was given, since people type passwords there.
    name_sha256 bytea PRIMARY KEY,
    times timestamptz[] NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX sign_in_attempts_by_expiry ON sign_in_attempts (expire_time);
