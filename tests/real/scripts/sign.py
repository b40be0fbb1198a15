"""Signs JSON Web Tokens with PyJWT, one a line, for a list of [ALGORITHM, KEY FILE, CLAIMS]."""

import json
import sys
from pathlib import Path

import jwt

for algorithm, key, claims in json.loads(sys.argv[1]):
    key = Path(key).read_text() if key else None
    print(jwt.encode(claims, key, algorithm=algorithm), flush=True)
