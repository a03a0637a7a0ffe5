"""User: accounts, sessions, access tokens, API keys, MFA, and the audit log."""
