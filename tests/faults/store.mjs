// Store files with dcmjs-dimse: node store.mjs PORT FILE... ; ends with the number that were not taken.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const { Client, requests, constants, log } = require("dcmjs-dimse");
log.level = "error";
const [port, ...files] = process.argv.slice(2);
const client = new Client();
let missing = files.length;
for (const file of files) {
  const request = new requests.CStoreRequest(file);
  request.on("response", (response) => {
    if (response.getStatus() === constants.Status.Success) missing -= 1;
  });
  client.addRequest(request);
}
client.on("networkError", (error) => {
  console.error(error);
  process.exit(100);
});
client.on("closed", () => process.exit(missing));
client.send("127.0.0.1", Number(port), "DCMJS", "DAE_PACS");
