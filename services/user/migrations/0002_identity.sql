-- Profiles, sessions that can be listed, invitations, second factors, API keys, new passwords for lost ones.

ALTER TABLE accounts
    -- NULL: it has none until its owner sets a new one.
    ALTER COLUMN password_hash DROP NOT NULL,
    ADD COLUMN display_name text NOT NULL DEFAULT '',
    ADD COLUMN email text NOT NULL DEFAULT '',
    ADD COLUMN locale text NOT NULL DEFAULT '',
    ADD COLUMN disable_time timestamptz,
    -- No two names look alike but for the size of their letters.
    ADD CONSTRAINT accounts_username_small CHECK (username = lower(username));
CREATE INDEX accounts_by_creation ON accounts (create_time, id);

CREATE TABLE sessions (
    id text PRIMARY KEY,
    account_id text NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    create_time timestamptz NOT NULL,
    -- When its tokens were last refreshed, by whom, and when the newest one expires.
    use_time timestamptz NOT NULL,
    address text NOT NULL,
    user_agent text NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id);
CREATE INDEX sessions_by_expiry ON sessions (expire_time);

-- What was called the family of a token is its session.
UPDATE refresh_tokens SET family = 'ses_' || md5(family);
INSERT INTO sessions (id, account_id, create_time, use_time, address, user_agent, expire_time)
    SELECT family, account_id, now(), now(), '', '', max(expire_time) FROM refresh_tokens GROUP BY family, account_id;
DROP INDEX refresh_tokens_by_account;
ALTER TABLE refresh_tokens RENAME COLUMN family TO session_id;
ALTER TABLE refresh_tokens
    DROP COLUMN account_id,
    ADD FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    -- Of a token that was used: by whom, and what its successor is made with and known by.
    ADD COLUMN use_address text NOT NULL DEFAULT '',
    ADD COLUMN use_agent text NOT NULL DEFAULT '',
    ADD COLUMN salt bytea NOT NULL DEFAULT '',
    ADD COLUMN successor_sha256 bytea;

-- Attempts are kept by name and by address; both are hashed, since people type passwords in place of names.
TRUNCATE sign_in_attempts;
ALTER TABLE sign_in_attempts RENAME COLUMN name_sha256 TO key_sha256;

CREATE TABLE invitations (
    id text PRIMARY KEY,
    sha256 bytea NOT NULL UNIQUE,
    roles text[] NOT NULL,
    note text NOT NULL,
    creator_id text NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    create_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL
);

-- At most one leave to set a new password for each account.
CREATE TABLE password_resets (
    account_id text PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    sha256 bytea NOT NULL UNIQUE,
    expire_time timestamptz NOT NULL
);

CREATE TABLE totp_factors (
    account_id text PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    -- The secret, under AES-256-GCM, bound to the account.
    sealed bytea NOT NULL,
    confirmed boolean NOT NULL DEFAULT false,
    -- The number of the period whose code was used last; earlier ones are refused.
    last_counter bigint NOT NULL DEFAULT -1
);

CREATE TABLE recovery_codes (
    account_id text NOT NULL REFERENCES totp_factors (account_id) ON DELETE CASCADE,
    digest bytea NOT NULL,
    PRIMARY KEY (account_id, digest)
);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    account_id text NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    display_name text NOT NULL,
    sha256 bytea NOT NULL,
    roles text[] NOT NULL,
    create_time timestamptz NOT NULL,
    expire_time timestamptz,
    use_time timestamptz,
    use_address text NOT NULL DEFAULT '',
    revoke_time timestamptz
);
CREATE INDEX api_keys_by_account ON api_keys (account_id);
