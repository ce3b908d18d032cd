/** workerd compiles a statically imported `.wasm` file at deploy and hands over the module, never bytes. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
