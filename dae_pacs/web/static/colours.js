// The tokens' colours as a canvas takes them: a custom property alone still says light-dark(), both faces.

/** Give the colour of a token, such as "--line", as it is at a place, in the theme of now. */
export function colour(token, place = document.body) {
  const probe = document.createElement("span");
  probe.style.color = `var(${token})`;
  place.append(probe);
  const shown = getComputedStyle(probe).color;
  probe.remove();
  return shown;
}
