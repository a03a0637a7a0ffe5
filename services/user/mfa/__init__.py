"""MFA: TOTP codes of authenticator apps, and recovery codes."""
