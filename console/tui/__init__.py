"""The screen: `console.tui.app.ConsoleApp` over a `console.source.Source`, and nothing else of the console."""
