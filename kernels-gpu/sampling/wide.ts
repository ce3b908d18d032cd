/** 64-bit whole numbers in WGSL as (low, high) pairs of u32, and Philox4x32-10 (Salmon et al. 2011) on top of them. */

export const WIDE_WGSL = /* wgsl */ `
fn wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn wide_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn wide_less(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}
// The 64 bits of a product.
fn wide_mul(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2<u32>((other << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}
// floor(a · fraction / 2^32), for a below 2^64.
fn wide_part(a: vec2<u32>, fraction: u32) -> vec2<u32> {
  return wide_add(wide_mul(a.y, fraction), vec2<u32>(wide_mul(a.x, fraction).y, 0u));
}`;

export const PHILOX_WGSL = /* wgsl */ `
fn philox(start: vec4<u32>, first_key: vec2<u32>) -> vec4<u32> {
  var counter = start;
  var key = first_key;
  for (var round = 0u; round < 10u; round++) {
    let a = wide_mul(counter.x, 0xd2511f53u);
    let b = wide_mul(counter.z, 0xcd9e8d57u);
    counter = vec4<u32>(b.y ^ counter.y ^ key.x, b.x, a.y ^ counter.w ^ key.y, a.x);
    key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return counter;
}`;
