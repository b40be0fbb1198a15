// Signs JSON Web Tokens with jose, one a line, for a list of [ALGORITHM, KEY FILE, CLAIMS].

const fs = require("fs");
const jose = require("jose");

async function sign(algorithm, file, claims) {
  if (algorithm === "none") return new jose.UnsecuredJWT(claims).encode();
  const text = fs.readFileSync(file, "utf8");
  // A secret is bytes, even if they are a public key in PEM.
  const key = algorithm === "HS256" ? new TextEncoder().encode(text) : await jose.importPKCS8(text, algorithm);
  return new jose.SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: "JWT" }).sign(key);
}

async function main() {
  for (const parts of JSON.parse(process.argv[2])) {
    console.log(await sign(...parts));
  }
}

main();
