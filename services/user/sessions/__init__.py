"""Sessions: signing in, staying signed in with refresh tokens, and signing out."""
