"""The screen: `console.tui.app.ConsoleApp` over a `console.playback.source.Source`, and nothing else of the console."""
