-- Auto-routing without any guard, as many sites have it: whatever arrives goes to dae-pacs, its own results
-- included. For the tests that no loop comes of it; docker/ and the demo use auto-route.lua.

function OnStoredInstance(instanceId, _, _, _)
   SendToModality(instanceId, 'dae-pacs')
end
