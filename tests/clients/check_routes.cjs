// Validates each HTTPRoute of a JSON list on stdin against the Gateway API's schema; says what is wrong and exits 1.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");

const load = createRequire(`${process.argv[2]}/`);
const { HTTPRoute } = load("@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1");
for (const route of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new HTTPRoute(route).validate();
  } catch (error) {
    console.log(error.message);
    process.exitCode = 1;
  }
}
