-- The keys of accounts at external providers.
CREATE TABLE provider_keys (
    account_id text NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    provider text NOT NULL,
    -- The key, under AES-256-GCM, bound to account and provider.
    encrypted_key bytea NOT NULL,
    -- The region of the account at the provider; empty: none.
    region text NOT NULL,
    set_time timestamptz NOT NULL,
    PRIMARY KEY (account_id, provider)
);
