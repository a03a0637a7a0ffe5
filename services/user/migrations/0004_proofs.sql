-- When a session last proved whose it is, from which networks accounts are signed in to, and an end for every API key.

ALTER TABLE sessions ADD COLUMN proof_time timestamptz;
UPDATE sessions SET proof_time = create_time;
ALTER TABLE sessions ALTER COLUMN proof_time SET NOT NULL;

-- Wrong passwords from elsewhere do not keep an account's owner from signing in there.
CREATE TABLE account_networks (
    account_id text NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    -- An IPv4 address, or the /64 of one of IPv6.
    network text NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (account_id, network)
);

-- Keys that had no end get as long as new ones, so that their owners have time to replace them.
UPDATE api_keys SET expire_time = now() + interval '90 days' WHERE expire_time IS NULL;
ALTER TABLE api_keys ALTER COLUMN expire_time SET NOT NULL;

-- What an account's owner reads of it: the few records of this service among all.
CREATE INDEX audit_records_of_actors ON audit_records (actor, number) WHERE service = 'user';
CREATE INDEX audit_records_of_targets ON audit_records (target, number) WHERE service = 'user';
