"""Who somebody is and what they may do: access tokens, rights, the rules of rooms, sessions to resume."""
