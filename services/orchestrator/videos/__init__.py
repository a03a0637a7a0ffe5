"""Videos: requests for videos, uploads, downloads, HLS previews and quotas."""
