/**
 * Evaluated in the page: the contrast (WCAG 2.2, 1.4.3) of every visible piece of text with what lies behind it.
 * Gives the ones that are too weak, as { text, ratio, needed }. Backgrounds are solid colours on this page.
 */
(() => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, bottom) => {
    const mix = (t, b) => t * top.a + b * (1 - top.a);
    return { r: mix(top.r, bottom.r), g: mix(top.g, bottom.g), b: mix(top.b, bottom.b), a: 1 };
  };
  const luminance = ({ r, g, b }) => {
    const [lr, lg, lb] = [r, g, b].map((v) =>
      v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4,
    );
    return 0.2126 * lr + 0.7152 * lg + 0.0722 * lb;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const backdrop = (element) => {
    if (element === null) return parse("rgb(255, 255, 255)");
    const own = parse(getComputedStyle(element).backgroundColor);
    return own.a === 1 ? own : over(own, backdrop(element.parentElement));
  };
  const neededFor = (style) => {
    const sizePx = Number.parseFloat(style.fontSize);
    return sizePx >= 24 || (sizePx >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  };
  const check = (element, text, style) => {
    const behind = backdrop(element);
    const ratio = contrast(over(parse(style.color), behind), behind);
    return { text: text.trim().slice(0, 40), ratio: Math.round(ratio * 100) / 100, needed: neededFor(style) };
  };
  const isVisible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent;
    if (text.trim() === "" || !isVisible(element) || element.closest(".visually-hidden, option, noscript")) continue;
    found.push(check(element, text, getComputedStyle(element)));
  }
  for (const field of document.querySelectorAll("textarea, select")) {
    if (field.placeholder) found.push(check(field, field.placeholder, getComputedStyle(field, "::placeholder")));
    else found.push(check(field, field.value, getComputedStyle(field)));
  }
  return { numChecked: found.length, weak: found.filter(({ ratio, needed }) => ratio < needed) };
})();
