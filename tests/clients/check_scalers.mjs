// Validates each ScaledObject of a JSON list on stdin against KEDA's schema; says what is wrong and exits 1.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// By its path: a module is looked up beside this file, and not in the environment that is named.
const folder = `${process.argv[2]}/node_modules/@kubernetes-models/keda/keda.sh/v1alpha1`;
const { ScaledObject } = await import(pathToFileURL(`${folder}/index.js`));
for (const scaler of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    new ScaledObject(scaler).validate();
  } catch (error) {
    console.log(error.message);
    process.exitCode = 1;
  }
}
