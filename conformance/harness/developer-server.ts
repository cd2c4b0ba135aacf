import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { builtLayout, layoutEntries } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { Server } from "./server.ts";
import { toolsFolder } from "./tools.ts";

/** `script/server`: a server with a registry beside it, until Ctrl-C. */
const stop = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.resolve());

const settings = Object.fromEntries(
  process.argv.slice(2).map((argument) => {
    const [key = "", ...value] = argument.split("=");
    return [key, value.join("=")];
  }),
);
await using registry = await Registry.start();
const layout = await builtLayout();
await pushLayout(layout, registry.address);
await using server = await Server.start({ mirror: registry.address, settings });

const crictlYaml = join(server.paths.folder, "crictl.yaml");
await writeFile(crictlYaml, `runtime-endpoint: ${server.endpoint}\nimage-endpoint: ${server.endpoint}\ntimeout: 30\n`);
const images = (await layoutEntries(layout)).map(({ reference }) => `  ${reference}`);
const crictl = toolsFolder === undefined ? "crictl" : join(toolsFolder, "crictl");
// Another shell enters the namespaces through this process: outside of them neither mounts nor networks are seen.
const enter = `nsenter --all --target "$(pgrep --newest --full developer-server.ts)"`;
process.stdout.write(`nacelle runs (pid ${server.pid} in its PID namespace)
log        ${server.paths.log}
crictl     ${enter} ${crictl} --config ${crictlYaml} info
shell      ${enter} bash
images, from the registry at ${registry.address} through mirrors:
${images.join("\n")}
Ctrl-C ends it and removes everything.
`);
await stop.promise;
